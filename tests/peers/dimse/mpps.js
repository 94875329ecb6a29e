// A modality that is not ours: MPPS SCU (PS3.4 F.7) and Verification SCU on dcmjs-dimse.
//
//   node mpps.js <host> <port> <callingAE> <calledAE> create|set <sopInstanceUID> <attributes.json>
//   node mpps.js <host> <port> <callingAE> <calledAE> echo
//
// attributes.json holds attributes by keyword: {"PatientID": "1", "PerformedSeriesSequence": [{...}]}; "-" reads
// standard input. Prints one JSON line: {"status": 0, "comment": "", "sopInstanceUID": "..."}, or {"error": "..."}
// and exit code 2 when no DIMSE status came (refused, rejected, aborted).
'use strict';
const fs = require('fs');
const dimse = require('dcmjs-dimse');
dimse.log.setLevel('silent');

const { CEchoRequest, NCreateRequest, NSetRequest } = dimse.requests;
const { RejectReason, SopClass, TransferSyntax } = dimse.constants;

function finish(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n', () => process.exit('error' in answer ? 2 : 0));
}

function makeRequest(verb, uid, file) {
  if (verb === 'echo') return new CEchoRequest();
  const Request = { create: NCreateRequest, set: NSetRequest }[verb];
  if (!Request || !uid || !file) throw new Error('usage: see the head of mpps.js');
  const attributes = JSON.parse(fs.readFileSync(file === '-' ? 0 : file, 'utf8'));
  const request = new Request(SopClass.ModalityPerformedProcedureStep, uid);
  request.setDataset(new dimse.Dataset(attributes, TransferSyntax.ExplicitVRLittleEndian));
  return request;
}

const [host, port, calling, called, verb, uid, file] = process.argv.slice(2);
const request = makeRequest(verb, uid, file);
let answer = { error: 'no answer' };
request.on('response', (response) => {
  answer = {
    status: response.getStatus(),
    comment: response.getErrorComment() || '',
    sopInstanceUID: response.getAffectedSopInstanceUid() || '',
  };
});
const client = new dimse.Client();
client.addRequest(request);
client.on('associationRejected', (rejection) => {
  const reason = Object.keys(RejectReason).find((name) => RejectReason[name] === rejection.reason);
  finish({ error: 'association rejected', reason: reason || rejection.reason });
});
client.on('networkError', (error) => finish({ error: String(error.message || error) }));
client.on('closed', () => finish(answer));
client.send(host, Number(port), calling, called, { associationLingerTimeout: 0 });
