"""The private names of pynetdicom are where `bridge/dicom/insides.py` thinks they are, and mean what it thinks."""

from __future__ import annotations

import inspect

import pynetdicom
from pynetdicom import acse, association, dimse, dimse_messages, evt, fsm, service_class, transport

from bridge.dicom import insides


def test_the_version_is_the_one_that_was_read() -> None:
    assert pynetdicom.__version__ == "3.0.4", "read bridge/dicom/insides.py against the new version, then change this"


def test_its_own_listener_is_as_the_guard_expects_it() -> None:
    assert list(inspect.signature(transport.AssociationSocket.recv).parameters) == ["self", "nr_bytes"]
    decoding = inspect.getsource(dimse_messages.DIMSEMessage.decode_msg)
    assert "dimse.receive_primitive(" in inspect.getsource(fsm.DT_2)
    assert "self._data_set_path = " in decoding and "self._data_set_file = " in decoding
    # The file of an object: what it is opened with, and what of it is used.
    assert "NamedTemporaryFile(delete=False" in decoding and "self._data_set_file.file.flush()" in decoding
    assert "req._dataset_file.close()" in inspect.getsource(service_class.StorageServiceClass.SCP)


def test_its_association_works_without_its_threads() -> None:
    """Negotiation and services touch of the provider below them no more than what stands in for it."""
    ours = {name for name in dir(insides._Delivery) if not name.startswith("_")}
    for code in (
        acse.ACSE._negotiate_as_acceptor,
        acse.ACSE.send_accept,
        association.Association._serve_request,
        association.Association.kill,
        dimse.DIMSEServiceProvider.send_msg,
    ):
        source = inspect.getsource(code)
        used = {word.split("(")[0] for word in source.split("self.dul.")[1:]}
        used |= {word.split("(")[0] for word in source.split("self.assoc.dul.")[1:]}
        # `stop_dul` is asked of a thread that runs.
        assert used <= ours | {"stop_dul"}, code.__qualname__


def test_what_ends_an_association_is_ours_in_every_form() -> None:
    assert "assoc._abort_nonblocking" in inspect.getsource(
        evt.trigger if hasattr(evt, "trigger") else insides.evt.trigger
    )
    for name in ("_abort_blocking", "_abort_nonblocking"):
        assert getattr(insides.Served, name) is not getattr(association.Association, name)


def test_its_contexts_are_kept_by_their_ids() -> None:
    negotiation = inspect.getsource(acse.ACSE._negotiate_as_acceptor)
    assert "self.assoc._accepted_cx = {" in negotiation and "cx.result == 0x00" in negotiation
    assert "self._accepted_cx[context_id]" in inspect.getsource(association.Association._serve_request)
