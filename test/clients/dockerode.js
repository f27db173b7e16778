// What people do with dockerode, on an engine with the gate in force. Ends with 0 if all of it went as said here.
//
// dockerode.js images|lockdown
const assert = require('node:assert');
const { Readable } = require('node:stream');
const Docker = require('dockerode');

const app = 'registry.test:5000/app:1.0';
const posture = process.argv[2];
const docker = new Docker({ socketPath: '/run/docker.sock' });

// The call is refused with this code, and the error says so.
async function refused(code, call) {
  let said;
  try {
    await call();
  } catch (error) {
    said = error.message;
  }
  assert(said !== undefined, `not refused with ${code}: ${call}`);
  assert(said.includes(`: ${code}: `), `${code} is not in: ${said}`);
  console.log('refused', said.split(': ').slice(1).join(': ').trim());
}

// Refused in lockdown alone.
const either = (code, call) => (posture === 'lockdown' ? refused(code, call) : call());

const read = (stream) => new Promise((done, failed) => {
  const parts = [];
  stream.on('data', (part) => parts.push(part)).on('end', () => done(Buffer.concat(parts))).on('error', failed);
});

const followed = (stream) => new Promise((done, failed) => {
  docker.modem.followProgress(stream, (error, output) => (error ? failed(error) : done(output)));
});

const pull = async (image) => followed(await docker.pull(image));
const tar = (name, text) => {
  const block = Buffer.alloc(2048);
  block.write(name, 0);
  block.write('0000644\0' + '0000000\0' + '0000000\0' + text.length.toString(8).padStart(11, '0') + '\0' + '00000000000\0', 100);
  block.write('        0', 148);
  block.write('ustar\0' + '00', 257);
  block.write(block.subarray(0, 512).reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0') + '\0 ', 148);
  block.write(text, 512);
  return block;
};

async function main() {
  await docker.ping();
  await pull(app);
  await refused('no-trust-data', () => pull('registry.test:5000/plain:1.0'));
  await refused('registry-not-allowed', () => pull('foreign.test:5001/app:1.0'));
  await refused('registry-not-allowed', () => pull('busybox'));
  await refused('pull-all-tags', async () => followed(await docker.createImage({ fromImage: 'registry.test:5000/app' })));
  await refused('registry-not-allowed', () => docker.createContainer({ Image: 'evil:1.0' }));

  const box = await docker.createContainer({
    Image: app, name: 'node-box', Cmd: ['sleep', '300'], HostConfig: { NetworkMode: 'none' },
  });
  await box.start();
  await box.restart({ t: 0 });
  await box.rename({ name: 'node-box2' });
  await box.rename({ name: 'node-box' });
  const exec = await box.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await exec.start({ hijack: true, stdin: true });
  stream.end('by exec\n');
  assert((await read(stream)).toString().includes('by exec'));
  await either('posture-forbids', () => box.putArchive(tar('file', 'planted'), { path: '/' }));
  await read(await box.getArchive({ path: '/id' }));
  await box.stats({ stream: false });
  await box.pause();
  await box.unpause();
  await box.update({ RestartPolicy: { Name: 'no' } });
  await either('posture-forbids', () => box.commit({ repo: 'committed' }));
  await either('posture-forbids', () => docker.getImage(app).tag({ repo: 'tagged', tag: '1.0' }));
  await refused('import-file', () => docker.importImage(Readable.from([tar('file', 'planted')]), { repo: 'imported' }));
  const saved = await read(await docker.getImage(app).get());
  await either('posture-forbids', () => docker.loadImage(Readable.from([saved])));
  await box.stop({ t: 0 });
  await box.remove({ force: true });

  const network = await docker.createNetwork({ Name: 'node-lane' });
  const volume = await docker.createVolume({ Name: 'node-shelf' });
  const other = await docker.createContainer({
    Image: app, Cmd: ['sleep', '300'], HostConfig: { NetworkMode: 'node-lane', Binds: ['node-shelf:/shelf'] },
  });
  await other.start();
  await network.disconnect({ Container: other.id });
  await network.connect({ Container: other.id });
  await other.remove({ force: true });
  const [result, attached] = await docker.run(app, ['echo', 'here'], process.stdout, { HostConfig: { NetworkMode: 'none' } });
  assert.equal(result.StatusCode, 0);
  await attached.remove();
  for (const HostConfig of [{ Binds: ['/etc:/host'] }, { Privileged: true }]) {
    await either('host-access', async () => (await docker.createContainer({ Image: app, HostConfig })).remove());
  }
  await network.remove();
  await volume.remove();
  await refused('build-denied', () => docker.buildImage(Readable.from([tar('Dockerfile', 'FROM scratch\n')]), {}));
  console.log('done');
}

// Connections that are kept open would keep it for minutes.
main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
