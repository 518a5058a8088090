// What test suites do by Testcontainers for Node, against the engine at DOCKER_HOST.
//
// To be run where the engine's published ports are. The image `busybox` must be there, and one for the reaper. The last
// check leaves things behind: they are to be gone soon after this program.

import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

process.env.TESTCONTAINERS_HOST_OVERRIDE = '127.0.0.1';

// Installed where the world is, not beside this file.
const require = createRequire(`${process.env.SDK_DIRECTORY}/`);
const { GenericContainer, Network, Wait, getContainerRuntimeClient } = require('testcontainers');

const IMAGE = 'busybox';
const SERVE = ['sh', '-c', 'mkdir /w; echo $GREETING > /w/index.html; echo serving; exec httpd -f -p 8080 -h /w'];

const server = () =>
  new GenericContainer(IMAGE)
    .withCommand(SERVE)
    .withEnvironment({ GREETING: 'hello' })
    .withExposedPorts(8080)
    .withWaitStrategy(Wait.forAll([Wait.forLogMessage('serving'), Wait.forHttp('/', 8080)]));

const sleeper = () => new GenericContainer(IMAGE).withCommand(['sleep', '1000']);

/** Runs `body` with what was started, which is stopped afterwards. */
async function using(starting, body) {
  const started = await starting;
  try {
    return await body(started);
  } finally {
    await started.stop();
  }
}

async function until(what, ask) {
  for (let tries = 0; !ask(); tries++) {
    assert.ok(tries < 600, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function aServiceIsReachedByItsMappedPort() {
  await using(server().start(), async (service) => {
    const address = `http://${service.getHost()}:${service.getMappedPort(8080)}/`;
    assert.equal(await (await fetch(address)).text(), 'hello\n');
    const done = await service.exec(['cat', '/w/index.html']);
    assert.deepEqual([done.exitCode, done.output], [0, 'hello\n']);
    const failed = await service.exec(['sh', '-c', 'echo why >&2; exit 3'], { user: 'web', workingDir: '/tmp' });
    assert.deepEqual([failed.exitCode, failed.stderr], [3, 'why\n']);
    await service.restart();
    const again = `http://${service.getHost()}:${service.getMappedPort(8080)}/`;
    assert.equal(await (await fetch(again)).text(), 'hello\n');
  });
}

async function logsAreFollowed() {
  const lines = [];
  const consumer = (stream) => stream.on('data', (line) => lines.push(line.toString()));
  const counting = ['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done; sleep 1000'];
  await using(new GenericContainer(IMAGE).withCommand(counting).withLogConsumer(consumer).start(), () =>
    // The stream alone does not keep this program running.
    until('the third line', () => /1\s*2\s*3/.test(lines.join(''))),
  );
  await using(server().start(), async (service) => {
    const stream = await service.logs();
    const said = [];
    stream.on('data', (line) => said.push(line.toString()));
    await until('the log', () => said.join('').includes('serving'));
    stream.destroy();
  });
}

async function servicesFindEachOtherByName() {
  await using(new Network().start(), async (network) => {
    const service = server().withNetwork(network).withNetworkAliases('api');
    await using(service.start(), (service) =>
      using(sleeper().withNetwork(network).start(), async (client) => {
        const found = await client.exec(['nslookup', 'api']);
        assert.equal(found.exitCode, 0, found.output);
        assert.ok(found.output.includes(service.getIpAddress(network.getName())), found.output);
      }),
    );
  });
}

async function healthIsWaitedFor() {
  const check = { test: ['CMD-SHELL', 'test -e /ready'], interval: 200, retries: 100 };
  const container = new GenericContainer(IMAGE)
    .withCommand(['sh', '-c', 'sleep 0.5; touch /ready; sleep 1000'])
    .withHealthCheck(check)
    .withWaitStrategy(Wait.forHealthCheck());
  await using(container.start(), async (healthy) => {
    assert.equal((await healthy.exec(['ls', '/ready'])).exitCode, 0);
  });
}

async function waitsForTheEndAndForACommand() {
  const ending = new GenericContainer(IMAGE).withCommand(['true']).withWaitStrategy(Wait.forOneShotStartup());
  await using(ending.start(), async () => {});
  const waiting = new GenericContainer(IMAGE)
    .withCommand(['sh', '-c', 'sleep 0.3; touch /done; sleep 1000'])
    .withWaitStrategy(Wait.forSuccessfulCommand('test -e /done'));
  await using(waiting.start(), async () => {});
}

async function filesGoInAndOut() {
  const directory = mkdtempSync(`${process.env.SDK_DIRECTORY}/files-`);
  writeFileSync(`${directory}/note`, 'from outside\n');
  const container = sleeper()
    .withCopyFilesToContainer([{ source: `${directory}/note`, target: '/in/note', mode: 0o640 }])
    .withCopyContentToContainer([{ content: 'said\n', target: '/in/said' }])
    .withCopyDirectoriesToContainer([{ source: directory, target: '/all' }])
    .withBindMounts([{ source: `${directory}/note`, target: '/bound', mode: 'ro' }])
    .withTmpFs({ '/scratch': 'rw,size=1m' });
  await using(container.start(), async (started) => {
    const seen = await started.exec(['sh', '-c', 'cat /in/note /in/said /all/note /bound; stat -c %a /in/note']);
    assert.equal(seen.output, 'from outside\nsaid\nfrom outside\nfrom outside\n640\n');
    const packed = await started.copyArchiveFromContainer('/in/said');
    assert.match(await text(Readable.from(packed)), /said\n/);
  });
}

async function limitsUsersAndLabelsAreKept() {
  const container = sleeper()
    .withUser('web')
    .withWorkingDir('/home')
    .withLabels({ suite: 'node' })
    .withResourcesQuota({ memory: 0.0625, cpu: 0.5 })
    .withAddedCapabilities('NET_ADMIN')
    .withUlimits({ nofile: { hard: 200, soft: 100 } })
    .withName('node-named');
  await using(container.start(), async (started) => {
    const seen = await started.exec(['sh', '-c', 'id -un; pwd; ulimit -n']);
    assert.equal(seen.output, 'web\n/home\n100\n');
    assert.equal(started.getName(), '/node-named'.slice(started.getName().startsWith('/') ? 0 : 1));
    const runtime = await getContainerRuntimeClient();
    const { HostConfig, Config } = await runtime.container.inspect(runtime.container.getById(started.getId()));
    assert.deepEqual([HostConfig.Memory, HostConfig.NanoCpus, Config.Labels.suite], [64 << 20, 500000000, 'node']);
  });
}

async function anImageIsMadeOfAContainer() {
  const id = await using(sleeper().start(), async (started) => {
    await started.exec(['touch', '/made']);
    return started.commit({ repo: 'node-made', tag: '1', deleteOnExit: false });
  });
  const made = new GenericContainer('node-made:1').withCommand(['sleep', '1000']);
  await using(made.start(), async (started) => {
    assert.equal((await started.exec(['ls', '/made'])).exitCode, 0);
  });
  const runtime = await getContainerRuntimeClient();
  await runtime.container.dockerode.getImage(id).remove({ force: true });
}

async function oneContainerServesMany() {
  const reusable = () => sleeper().withLabels({ reused: 'yes' }).withReuse();
  process.env.TESTCONTAINERS_REUSE_ENABLE = 'true';
  const first = await reusable().start();
  await using(reusable().start(), async (second) => assert.equal(second.getId(), first.getId()));
}

async function somethingIsLeftToTheReaper() {
  const network = await new Network().start();
  await sleeper().withNetwork(network).start();
}

const checks = [
  aServiceIsReachedByItsMappedPort,
  logsAreFollowed,
  servicesFindEachOtherByName,
  healthIsWaitedFor,
  waitsForTheEndAndForACommand,
  filesGoInAndOut,
  limitsUsersAndLabelsAreKept,
  anImageIsMadeOfAContainer,
  oneContainerServesMany,
  somethingIsLeftToTheReaper,
];
for (const check of checks) {
  console.log(check.name);
  await check();
}
console.log(`${checks.length} checks passed`);
