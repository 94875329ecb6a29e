"""dicomweb-client (Python) against the gate, served by cheroot, with real objects from pydicom's wheel."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pydicom
import pytest
from cheroot.wsgi import Server
from dicomweb_client.api import DICOMwebClient
from flask import Flask
from pydicom.data import get_testdata_file
from requests import HTTPError

from bridge.dicom.document import bulkdata, describe
from bridge.domain.patient import PersonName
from bridge.domain.viewing import InstanceFile, InstanceRow, SeriesRow, StudyRow
from bridge.web.dicomweb import dicomweb_blueprint
from tests.unit.dicomweb.pretend_images import PretendImages, session_of

CT, COLOUR, BIG = "CT_small.dcm", "examples_ybr_color.dcm", "MR_small_bigendian.dcm"
FOREIGN, ECG = "examples_palette.dcm", "waveform_ecg.dcm"
OURS = (CT, COLOUR, BIG, ECG)


class StoredImages(PretendImages):
    """Real files, described by the bridge's own reader."""

    def keep(self, name: str) -> pydicom.Dataset:
        found = get_testdata_file(name, download=False)
        assert isinstance(found, str)
        path, data = Path(found), pydicom.dcmread(found)
        document = describe(path)
        series, modality = str(data.SeriesInstanceUID), str(data.Modality)
        row = InstanceRow(
            series, str(data.SOPClassUID), str(data.SOPInstanceUID), "", data.get("Rows", 0), data.get("Columns", 0),
            frames=len(document.frames), transfer_syntax_uid=str(data.file_meta.TransferSyntaxUID),
        )  # fmt: skip
        study = StudyRow(
            str(data.StudyInstanceUID), PersonName.from_dicom(str(data.PatientName)), str(data.PatientID),
            modalities=(modality,), series=1, instances=1,
        )  # fmt: skip
        size = path.stat().st_size
        file = InstanceFile(path, size, row.transfer_syntax_uid, row.sop_class_uid, document.frames)
        self.add(study, SeriesRow(series, modality, instances=1), row, file, document.json)
        return data

    def bulkdata(self, session: object, study: str, series: str, instance: str, tag: str) -> bytes:  # type: ignore[override]
        return bulkdata(self.tree[study][series][1][instance][1].path, tag)


@pytest.fixture(scope="module")
def stored() -> tuple[StoredImages, dict[str, pydicom.Dataset]]:
    images = StoredImages()
    return images, {name: images.keep(name) for name in (*OURS, FOREIGN)}


@pytest.fixture(scope="module")
def objects(stored: tuple[StoredImages, dict[str, pydicom.Dataset]]) -> dict[str, pydicom.Dataset]:
    return stored[1]


@pytest.fixture(scope="module")
def root(stored: tuple[StoredImages, dict[str, pydicom.Dataset]]) -> Iterator[str]:
    images, data = stored
    session = session_of(*(str(data[name].StudyInstanceUID) for name in OURS))
    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(images, lambda: session))
    server = Server(("127.0.0.1", 0), app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}/dicom-web"
    server.stop()
    thread.join(10)


@pytest.fixture
def client(root: str) -> DICOMwebClient:
    return DICOMwebClient(root)


def _ids(data: pydicom.Dataset) -> tuple[str, str, str]:
    return str(data.StudyInstanceUID), str(data.SeriesInstanceUID), str(data.SOPInstanceUID)


def _fragments(data: pydicom.Dataset) -> list[bytes]:
    from pydicom.encaps import generate_frames

    return list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))


def test_the_studies_of_the_session_are_found(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    found = {row["0020000D"]["Value"][0] for row in client.search_for_studies()}
    assert found == {str(objects[name].StudyInstanceUID) for name in OURS}


def test_all_pages_together_are_all_studies(client: DICOMwebClient) -> None:
    assert len(client.search_for_studies(limit=1, get_remaining=True)) == len(OURS)


def test_nothing_found_is_an_empty_list(client: DICOMwebClient) -> None:
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []


def test_series_and_instances_are_found(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    study, series, instance = _ids(objects[CT])
    assert client.search_for_series(study)[0]["0020000E"]["Value"] == [series]
    assert client.search_for_instances(study, series)[0]["00080018"]["Value"] == [instance]
    assert client.search_for_instances(search_filters={"SOPInstanceUID": instance})[0]["00280010"]["Value"] == [128]


def test_an_object_comes_back_byte_for_byte(
    client: DICOMwebClient, objects: dict[str, pydicom.Dataset], root: str
) -> None:
    for name in OURS:
        response = client._session.get(
            f"{root}/studies/{{}}/series/{{}}/instances/{{}}".format(*_ids(objects[name])),
            headers={"Accept": "application/dicom"},
        )
        found = get_testdata_file(name, download=False)
        assert isinstance(found, str)
        assert response.content == Path(found).read_bytes()


@pytest.mark.parametrize("stream", [False, True])
def test_a_study_is_retrieved(client: DICOMwebClient, objects: dict[str, pydicom.Dataset], stream: bool) -> None:
    study, _, instance = _ids(objects[COLOUR])
    found = list(client.iter_study(study)) if stream else client.retrieve_study(study)
    assert [data.SOPInstanceUID for data in found] == [instance]


def test_an_instance_is_retrieved(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    assert client.retrieve_instance(*_ids(objects[CT])) == objects[CT]


def test_metadata_at_three_levels(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    study, series, instance = _ids(objects[CT])
    whole = client.retrieve_study_metadata(study)
    assert whole == client.retrieve_series_metadata(study, series)
    assert whole == [client.retrieve_instance_metadata(study, series, instance)]
    data = pydicom.Dataset.from_json(whole[0], lambda *_: b"")
    assert (data.PatientName, data.Rows, data.PixelSpacing) == (
        objects[CT].PatientName,
        objects[CT].Rows,
        objects[CT].PixelSpacing,
    )


def test_a_native_frame_is_its_pixels(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    for media in (None, ("application/octet-stream",), (("application/octet-stream", "*"),)):
        assert client.retrieve_instance_frames(*_ids(objects[CT]), [1], media) == [objects[CT].PixelData]


def test_compressed_frames_are_as_stored(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    expected = _fragments(objects[COLOUR])
    numbers = [1, len(expected), 2]
    for media in (None, ("image/jpeg",), (("application/octet-stream", "*"),)):
        found = client.retrieve_instance_frames(*_ids(objects[COLOUR]), numbers, media)
        assert [f.rstrip(b"\0") for f in found] == [expected[n - 1].rstrip(b"\0") for n in numbers]


def test_compressed_frames_are_not_passed_off_as_raw(
    client: DICOMwebClient, objects: dict[str, pydicom.Dataset]
) -> None:
    with pytest.raises(HTTPError) as refused:
        client.retrieve_instance_frames(*_ids(objects[COLOUR]), [1], ("application/octet-stream",))
    assert refused.value.response.status_code == 406


def test_frames_of_a_big_endian_object_are_refused(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    with pytest.raises(HTTPError) as refused:
        client.retrieve_instance_frames(*_ids(objects[BIG]), [1])
    assert refused.value.response.status_code == 406


def test_a_bulk_data_link_leads_to_its_value(
    client: DICOMwebClient, objects: dict[str, pydicom.Dataset], root: str
) -> None:
    study, series, instance = _ids(objects[CT])
    link = client.retrieve_instance_metadata(study, series, instance)["7FE00010"]["BulkDataURI"]
    url = urljoin(f"{root}/studies/{study}/series/{series}/metadata", link)
    assert url.startswith(f"{root}/studies/{study}/")
    assert client.retrieve_bulkdata(url) == [objects[CT].PixelData]
    assert client.retrieve_bulkdata(url, ("application/octet-stream",)) == [objects[CT].PixelData]


def test_a_link_inside_a_sequence_leads_to_its_value(
    client: DICOMwebClient, objects: dict[str, pydicom.Dataset], root: str
) -> None:
    found = client.retrieve_instance_metadata(*_ids(objects[ECG]))
    link = found["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(urljoin(root, link)) == [objects[ECG].WaveformSequence[1].WaveformData]


def test_another_patients_study_is_refused(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    with pytest.raises(HTTPError) as refused:
        client.retrieve_study(str(objects[FOREIGN].StudyInstanceUID))
    assert refused.value.response.status_code == 403


def test_nothing_can_be_stored(client: DICOMwebClient, objects: dict[str, pydicom.Dataset]) -> None:
    with pytest.raises(HTTPError) as refused:
        client.store_instances([objects[CT]])
    assert refused.value.response.status_code == 405


def test_a_path_of_dots_on_the_wire_reaches_nothing(root: str, objects: dict[str, pydicom.Dataset]) -> None:
    host, port = root.split("/")[2].split(":")
    mine, other = objects[CT].StudyInstanceUID, objects[FOREIGN].StudyInstanceUID
    for path in (f"studies/{mine}/../{other}", f"studies/{mine}%2f..%2f{other}", f"./studies/{other}/metadata"):
        with socket.create_connection((host, int(port)), 10) as wire:
            wire.sendall(f"GET /dicom-web/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = io.BytesIO()
            while piece := wire.recv(65536):
                answer.write(piece)
        assert answer.getvalue().split()[1] in (b"400", b"403", b"404")
