// Testcontainers for Node, with its reaper. RYUK_CONTAINER_IMAGE says which image that is.
//
// testcontainers.js runs IMAGE | refused CODE IMAGE
const assert = require('node:assert');
const { GenericContainer, Network, Wait } = require('testcontainers');

const [verb, ...words] = process.argv.slice(2);

async function main() {
  const network = await new Network().start();
  const container = await new GenericContainer(words.at(-1))
    .withCommand(['sh', '-c', 'echo ready; exec sleep 300'])
    .withNetwork(network)
    .withCopyContentToContainer([{ content: 'copied', target: '/copied' }])
    .withWaitStrategy(Wait.forLogMessage('ready'))
    .withStartupTimeout(20000)
    .start();
  assert.equal((await container.exec(['cat', '/copied'])).output, 'copied');
  await container.restart();
  await container.stop();
  await network.stop();
}

main().then(
  () => assert.equal(verb, 'runs', `${words} ran`),
  (error) => {
    assert(verb === 'refused' && `${error}`.includes(`: ${words[0]}: `), `${error} ${error.stack}`);
    console.log('refused', `${error}`.split(': ').slice(2).join(': ').trim());
  },
).then(() => {
  console.log('done');
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
