// An HL7 receiver that is not ours: simple-hl7's server, with the acknowledgement that it builds.
//
//   node receive.js [code ...]
//
// Listens on 127.0.0.1 and prints `PORT <n>`, then one JSON line for each message as simple-hl7's parser reads it.
// The codes are its answers in turn (MSA-1), then AA. It ends when its standard input does.
'use strict';
const hl7 = require('simple-hl7');

const codes = process.argv.slice(2);

function say(line) {
  process.stdout.write(line + '\n');
}

function fields(message, name) {
  const segment = message.getSegment(name);
  return segment ? segment.fields.map((_, n) => segment.getField(n + 1)) : [];
}

const app = hl7.tcp();
app.use((request, response, next) => {
  const { msg, type, event } = request;
  const [pid, orc] = [fields(msg, 'PID'), fields(msg, 'ORC')];
  const segments = msg.segments.map((segment) => segment.name);
  const from = response.socket.remotePort;
  say(JSON.stringify({ type, event, id: msg.header.getField(8), segments, pid, orc, from }));
  response.ack.getSegment('MSA').setField(1, codes.shift() || 'AA');
  next();
});
app.use((request, response, next) => response.end());
app.use((error, request, response, next) => say(JSON.stringify({ error: String(error) })));

const { server } = app.start({ host: '127.0.0.1', port: 0 });
server.on('listening', () => say(`PORT ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
