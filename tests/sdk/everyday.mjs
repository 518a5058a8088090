// What users of dockerode, the SDK of Node, do all day, against the engine at DOCKER_HOST.
//
// Each function is a check of its own and leaves nothing behind. The image `busybox` must be there.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createRequire } from 'node:module';

// Installed where the world is, not beside this file.
const require = createRequire(`${process.env.SDK_DIRECTORY}/`);
const Docker = require('dockerode');

const IMAGE = 'busybox';
const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });

/** Runs `body` with a container that is gone afterwards. */
async function withContainer(options, body) {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ['sleep', '1000'], ...options });
  try {
    return await body(container);
  } finally {
    await container.remove({ force: true, v: true });
  }
}

const withRunning = (options, body) =>
  withContainer(options, async (container) => {
    await container.start();
    return body(container);
  });

/** Takes a multiplexed stream apart. */
async function parts(container, stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  container.modem.demuxStream(stream, out, err);
  stream.on('end', () => [out, err].forEach((part) => part.end()));
  return Promise.all([text(out), text(err)]);
}

async function runGivesOutputAndStatus() {
  const out = new PassThrough();
  const [result, container] = await docker.run(IMAGE, ['sh', '-c', 'echo hello; exit 3'], out, { Tty: true });
  await container.remove();
  out.end();
  assert.equal(result.StatusCode, 3);
  assert.equal(await text(out), 'hello\r\n');
}

async function attachSpeaksBothWays() {
  const options = { Cmd: ['sh', '-c', 'cat; echo wrong >&2'], OpenStdin: true, StdinOnce: true };
  await withContainer(options, async (container) => {
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    await container.start();
    const said = parts(container, stream);
    stream.end('a line\n');
    assert.deepEqual(await said, ['a line\n', 'wrong\n']);
    assert.equal((await container.wait()).StatusCode, 0);
  });
}

async function execSpeaksBothWays() {
  await withRunning({}, async (container) => {
    const exec = await container.exec({
      Cmd: ['sh', '-c', 'cat; echo wrong >&2; exit 5'],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    const said = parts(container, stream);
    stream.end('a line\n');
    assert.deepEqual(await said, ['a line\n', 'wrong\n']);
    const { ExitCode, Running } = await exec.inspect();
    assert.deepEqual([ExitCode, Running], [5, false]);
  });
}

async function logsComeAtOnceAndAsTheyAreWritten() {
  await withRunning({ Cmd: ['sh', '-c', 'echo one; read x; echo two'], OpenStdin: true }, async (container) => {
    const follow = parts(container, await container.logs({ follow: true, stdout: true, stderr: true }));
    const input = await container.attach({ stream: true, stdin: true, hijack: true });
    input.end('go\n');
    await container.wait();
    assert.deepEqual(await follow, ['one\ntwo\n', '']);
    const all = await container.logs({ stdout: true, timestamps: true });
    assert.match(all.subarray(8).toString(), /^\d{4}-\d\d-\d\dT\S+Z one\n/);
  });
}

async function statisticsAndProcesses() {
  await withRunning({}, async (container) => {
    const once = await container.stats({ stream: false });
    assert.ok(once.memory_stats.usage > 0 && once.pids_stats.current >= 1);
    const { Titles, Processes } = await container.top();
    assert.match(Processes[0][Titles.indexOf('CMD')], /sleep 1000/);
  });
}

async function eventsAreTold() {
  const stream = await docker.getEvents({ filters: { type: ['container'], event: ['create', 'destroy'] } });
  const told = [];
  const both = new Promise((resolve) => {
    stream.on('data', (bytes) => {
      for (const line of bytes.toString().trim().split('\n')) told.push(JSON.parse(line));
      if (told.length >= 2) resolve();
    });
  });
  const id = await withContainer({}, (container) => container.id);
  await both;
  stream.destroy();
  assert.deepEqual(told.map((event) => [event.Action, event.Actor.ID]), [['create', id], ['destroy', id]]);
}

async function archivesGoInAndOut() {
  await withContainer({}, async (container) => {
    const passwd = await container.getArchive({ path: '/etc/passwd' });
    const chunks = [];
    for await (const chunk of passwd) chunks.push(chunk);
    await container.putArchive(Buffer.concat(chunks), { path: '/tmp' });
    const info = await container.infoArchive({ path: '/tmp/passwd' });
    info.resume();
    const stat = JSON.parse(Buffer.from(info.headers['x-docker-container-path-stat'], 'base64').toString());
    assert.equal(stat.name, 'passwd');
  });
}

async function networksAndVolumes() {
  const volume = await docker.createVolume({ Name: 'node-volume', Labels: { made: 'here' } });
  const network = await docker.createNetwork({ Name: 'node-network' });
  try {
    const options = { HostConfig: { Binds: ['node-volume:/data'], NetworkMode: 'node-network' } };
    await withRunning(options, async (container) => {
      const { NetworkSettings, Mounts } = await container.inspect();
      assert.ok(NetworkSettings.Networks['node-network'].IPAddress);
      assert.equal(Mounts[0].Name, 'node-volume');
      const inside = await network.inspect();
      assert.deepEqual(Object.keys(inside.Containers), [container.id]);
    });
  } finally {
    await network.remove();
    await volume.remove();
  }
}

async function errorsHaveStatusAndReason() {
  await assert.rejects(docker.getContainer('nobody').inspect(), (error) => {
    assert.equal(error.statusCode, 404);
    return /No such container: nobody/.test(error.json.message);
  });
  await withRunning({}, (container) => assert.rejects(container.remove(), { statusCode: 409 }));
}

async function pruneTakesWhatHasEnded() {
  const made = await docker.createContainer({ Image: IMAGE, Cmd: ['true'], Labels: { node: 'prune' } });
  const report = await docker.pruneContainers({ filters: { label: ['node=prune'] } });
  assert.deepEqual(report.ContainersDeleted, [made.id]);
}

const checks = [
  runGivesOutputAndStatus,
  attachSpeaksBothWays,
  execSpeaksBothWays,
  logsComeAtOnceAndAsTheyAreWritten,
  statisticsAndProcesses,
  eventsAreTold,
  archivesGoInAndOut,
  networksAndVolumes,
  errorsHaveStatusAndReason,
  pruneTakesWhatHasEnded,
];
for (const check of checks) {
  console.log(check.name);
  await check();
}
console.log(`${checks.length} checks passed`);
