// A modality that is not ours: Storage Commitment SCU (PS3.4 Annex J) on dcmjs-dimse, which knows no role selection.
//
//   node commit.js <host> <port> <callingAE> <calledAE> ask <request.json>
//   node commit.js <port> listen [status]
//
// request.json: {"transaction": "1.2", "instances": [["class UID", "instance UID"], ...], "action": 1,
// "instance": "..."}; "-" reads standard input. `ask` prints one JSON line: {"status": 0}, or {"error": "..."}.
// `listen` takes N-EVENT-REPORT on associations of the archive's: prints {"listening": port}, then one JSON line a report
// {"type": 1, "transaction": "1.2", "committed": [["class", "instance"]], "failed": [["class", "instance", 272]],
// "calling": "AE", "called": "AE"}, and answers each with `status` (0).
'use strict';
const fs = require('fs');
const readline = require('readline');
const dimse = require('dcmjs-dimse');
dimse.log.setLevel('silent');

const { NActionRequest } = dimse.requests;
const { NEventReportResponse } = dimse.responses;
const { PresentationContextResult, SopClass, TransferSyntax } = dimse.constants;
const CLASS = SopClass.StorageCommitmentPushModel;
const INSTANCE = '1.2.840.10008.1.20.1.1';

function say(line, end) {
  process.stdout.write(JSON.stringify(line) + '\n', () => end && process.exit('error' in line ? 2 : 0));
}

function ask([host, port, calling, called, , file]) {
  const wanted = JSON.parse(fs.readFileSync(file === '-' ? 0 : file, 'utf8'));
  const request = new NActionRequest(CLASS, wanted.instance || INSTANCE, wanted.action || 1);
  const items = wanted.instances.map(([sopClass, uid]) => ({ ReferencedSOPClassUID: sopClass, ReferencedSOPInstanceUID: uid }));
  const data = { TransactionUID: wanted.transaction, ReferencedSOPSequence: items };
  request.setDataset(new dimse.Dataset(data, TransferSyntax.ExplicitVRLittleEndian));
  let answer = { error: 'no answer' };
  request.on('response', (response) => {
    answer = { status: response.getStatus(), comment: response.getErrorComment() || '' };
  });
  const client = new dimse.Client();
  client.addRequest(request);
  client.on('associationRejected', () => say({ error: 'association rejected' }, true));
  client.on('networkError', (error) => say({ error: String(error.message || error) }, true));
  client.on('closed', () => say(answer, true));
  client.send(host, Number(port), calling, called, { associationLingerTimeout: 0 });
}

function listed(sequence, ...more) {
  const items = sequence === undefined ? [] : Array.isArray(sequence) ? sequence : [sequence];
  return items.map((i) => [i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID, ...more.map((name) => i[name])]);
}

function listen(port, status) {
  class Modality extends dimse.Scp {
    associationRequested(association) {
      this.association = association;
      for (const { id } of association.getPresentationContexts()) {
        const context = association.getPresentationContext(id);
        if (context.getAbstractSyntaxUid() === CLASS) {
          context.setResult(PresentationContextResult.Accept, TransferSyntax.ImplicitVRLittleEndian);
        } else {
          context.setResult(PresentationContextResult.RejectAbstractSyntaxNotSupported);
        }
      }
      this.sendAssociationAccept();
    }

    nEventReportRequest(request, callback) {
      const told = request.getDataset().getElements();
      say({
        type: request.getEventTypeId(),
        transaction: told.TransactionUID,
        committed: listed(told.ReferencedSOPSequence),
        failed: listed(told.FailedSOPSequence, 'FailureReason'),
        calling: this.association.getCallingAeTitle(),
        called: this.association.getCalledAeTitle(),
      });
      const response = NEventReportResponse.fromRequest(request);
      response.setStatus(status);
      callback(response);
    }

    associationReleaseRequested() {
      this.sendAssociationReleaseResponse();
    }
  }
  const server = new dimse.Server(Modality);
  server.on('networkError', () => {});
  server.listen(port);
  setTimeout(() => say({ listening: port }), 50); // its `listen` tells nobody when it does
  readline.createInterface({ input: process.stdin }).on('close', () => process.exit(0));
}

const words = process.argv.slice(2);
if (words[1] === 'listen') listen(Number(words[0]), Number(words[2] || 0));
else ask(words);
