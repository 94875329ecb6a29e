// An HL7 sender that is not ours: simple-hl7's client, one connection, one message after another.
//
//   node send.js <host> <port> < messages.json
//
// messages.json is a list of texts. Each is read and written anew by simple-hl7 (the last CR goes). Prints one JSON
// line for each acknowledgement as simple-hl7's parser reads it; {"error": "..."} and exit code 2 when none came.
'use strict';
const fs = require('fs');
const hl7 = require('simple-hl7');

const SECONDS = 20;
const [host, port] = process.argv.slice(2);
const messages = JSON.parse(fs.readFileSync(0, 'utf8'));
const client = hl7.Server.createTcpClient({ host, port: Number(port), keepalive: true });

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

function fail(error) {
  process.stdout.write(JSON.stringify({ error: String(error) }) + '\n', () => process.exit(2));
}

function read(ack) {
  // The header of simple-hl7 counts from the field after MSH-2.
  const [msa, err] = [ack.getSegment('MSA'), ack.getSegment('ERR')];
  return {
    type: ack.header.getComponent(7, 1),
    version: ack.header.getField(10),
    code: msa.getField(1),
    answers: msa.getField(2),
    where: err ? err.getField(2) : '',
    error: err ? err.getComponent(3, 1) : '',
    severity: err ? err.getField(4) : '',
    first: err ? err.getField(1) : '',
    localPort: client.client.localPort,
  };
}

function next() {
  if (messages.length === 0) return client.close();
  const late = setTimeout(() => fail('no acknowledgement in time'), SECONDS * 1000);
  client.send(new hl7.Parser().parse(messages.shift()), (error, ack) => {
    clearTimeout(late);
    if (error) return fail(error);
    say(read(ack));
    setImmediate(next); // simple-hl7 is ready for another message only after this callback
  });
}

next();
