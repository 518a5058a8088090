// What editors do by the dev containers CLI, against the engine at DOCKER_HOST.
//
// The image `busybox` must be there: the configuration names an image, since nothing is built. `DOCKER` names the
// client that the CLI starts.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const directory = `${process.env.SDK_DIRECTORY}/workspace`;
const docker = process.env.DOCKER;

function devcontainer(command, ...words) {
  const program = `${process.env.SDK_DIRECTORY}/node_modules/.bin/devcontainer`;
  const fixed = [command, '--docker-path', docker, '--workspace-folder', directory];
  return execFileSync(program, [...fixed, ...words], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

const client = (...words) => execFileSync(docker, words, { encoding: 'utf8' }).trim();
const exec = (...words) => devcontainer('exec', ...words);
const lastLine = (output) => JSON.parse(output.trim().split('\n').at(-1));
const log = () => readFileSync(`${directory}/log`, 'utf8');

const CONFIGURATION = {
  image: 'editor-image',
  // Anything else would build an image to change the user's number.
  updateRemoteUserUID: false,
  containerUser: 'root',
  remoteUser: 'web',
  workspaceMount: 'type=bind,source=${localWorkspaceFolder},target=/work',
  workspaceFolder: '/work',
  mounts: ['type=volume,source=editor-cache,target=/cache', { type: 'tmpfs', target: '/scratch' }],
  containerEnv: { GREETING: 'hello' },
  remoteEnv: { REMOTE: 'from ${containerEnv:GREETING}' },
  runArgs: ['--label', 'made=here', '--hostname', 'editor', '--memory', '256m'],
  capAdd: ['SYS_PTRACE'],
  securityOpt: ['seccomp=unconfined'],
  init: true,
  initializeCommand: 'echo initialize >> log; chmod 666 log',
  onCreateCommand: 'echo create $(id -un) >> log',
  updateContentCommand: ['sh', '-c', 'echo update >> log'],
  postCreateCommand: { only: 'echo created $REMOTE >> log' },
  postStartCommand: 'echo start >> log',
  postAttachCommand: 'echo attach >> log',
};

mkdirSync(`${directory}/.devcontainer`, { recursive: true });
writeFileSync(`${directory}/.devcontainer/devcontainer.json`, JSON.stringify(CONFIGURATION));

// The CLI keeps its marks in the user's home, which has to be the user's.
client('run', '--name', 'editor-base', 'busybox', 'chown', 'web:web', '/home');
client('commit', 'editor-base', 'editor-image');
client('rm', 'editor-base');

let id;
function aWorkspaceComesUp() {
  const up = lastLine(devcontainer('up'));
  assert.deepEqual([up.outcome, up.remoteUser, up.remoteWorkspaceFolder], ['success', 'web', '/work']);
  id = up.containerId;
  const steps = ['initialize', 'create web', 'update', 'created from hello', 'start', 'attach'];
  assert.equal(log(), `${steps.join('\n')}\n`);
}

function commandsRunInIt() {
  assert.equal(exec('sh', '-c', 'echo $GREETING $REMOTE; id -un; pwd; hostname'), 'hello from hello\nweb\n/work\neditor\n');
  assert.throws(() => exec('sh', '-c', 'exit 3'), (error) => error.status === 3);
  exec('touch', '/scratch/mine');
  assert.match(exec('cat', '/proc/1/cmdline'), /init/);
}

function itIsFoundAgain() {
  client('stop', '-t', '0', id);
  const up = lastLine(devcontainer('up'));
  assert.equal(up.containerId, id);
  assert.ok(log().endsWith('attach\ninitialize\nstart\nattach\n'), log());
  const { Labels, Hostname } = JSON.parse(client('inspect', '-f', '{{json .Config}}', id));
  assert.deepEqual([Labels.made, Hostname, Labels['devcontainer.local_folder']], ['here', 'editor', directory]);
  const host = JSON.parse(client('inspect', '-f', '{{json .HostConfig}}', id));
  assert.deepEqual([host.Memory, host.Init, host.SecurityOpt], [256 << 20, true, ['seccomp=unconfined']]);
  const { configuration } = lastLine(devcontainer('read-configuration'));
  assert.equal(configuration.image, 'editor-image');
}

function userCommandsRunAgain() {
  assert.equal(lastLine(devcontainer('run-user-commands')).outcome, 'success');
  assert.ok(log().endsWith('attach\n'), log());
}

function aNewOneTakesItsPlace() {
  const up = lastLine(devcontainer('up', '--remove-existing-container'));
  assert.notEqual(up.containerId, id);
  assert.equal(client('ps', '-aq', '--no-trunc', '--filter', 'label=made=here'), up.containerId);
  client('rm', '-f', up.containerId);
  client('volume', 'rm', 'editor-cache');
  client('rmi', 'editor-image');
}

const checks = [aWorkspaceComesUp, commandsRunInIt, itIsFoundAgain, userCommandsRunAgain, aNewOneTakesItsPlace];
for (const check of checks) {
  console.log(check.name);
  check();
}
rmSync(directory, { recursive: true });
console.log(`${checks.length} checks passed`);
