// The server side of Coreflow for a test: takes tags, pushes routes to what is tagged "coretraffic".
//
//   usage: node server.mjs PORT      then one JSON line a command on stdin:
//   {"id": 1, "method": "updateRouting", "request": {...}}
//
// What it tells goes to stdout as lines of "@@" and JSON: {port}, {tag, payload}, {gone},
// {id, tagged, response} or {id, tagged, error}.
import readline from 'node:readline';
import { SmartServe } from '@push.rocks/smartserve';
import { TypedHandler, TypedRequest, TypedRouter, TypedTarget } from '@api.global/typedrequest';

const TAG = 'coretraffic';
const tell = (message) => process.stdout.write(`@@${JSON.stringify(message)}\n`);
const router = new TypedRouter();

router.addTypedHandler(new TypedHandler('__typedsocket_setTag', async (request, tools) => {
  const { peer } = tools.localData;
  peer.tags.add(request.name);
  peer.data.set(`__typedsocket_tag__${request.name}`, request.payload);
  tell({ tag: request.name, payload: request.payload });
  return { success: true };
}));

const server = new SmartServe({
  port: Number(process.argv[2]),
  hostname: '127.0.0.1',
  websocket: { typedRouter: router, onConnectionClose: () => tell({ gone: true }) },
});
await server.start();
tell({ port: Number(process.argv[2]) });

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, method, request } = JSON.parse(line);
  const peers = server.getWebSocketConnectionsByTag(TAG);
  if (peers.length === 0) {
    tell({ id, tagged: 0 });
    continue;
  }
  const target = new TypedTarget({
    typedRouterRef: router,
    postMethodWithTypedRouter: async (message) => { peers[0].send(JSON.stringify(message)); },
  });
  new TypedRequest(target, method).fire(request).then(
    (response) => tell({ id, tagged: peers.length, response }),
    (error) => tell({ id, tagged: peers.length, error: error.errorText ?? String(error) }));
}
await server.stop();
process.exit(0);
