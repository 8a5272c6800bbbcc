"""`/datasets`: market data, uploaded and looked at."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from ntrader.api.access import Reader, Writer
from ntrader.api.context import Service, TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.idempotency import IdempotencyKey, Once
from ntrader.api.problems import ProblemError, problem_responses
from ntrader.api.schemas import DatasetDocument, DatasetList, UploadedDocument
from ntrader.domain.dataset_documents import dataset_document
from ntrader.domain.datasets import InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.services.datasets import ImportRequest, delete_dataset, import_dataset, list_datasets
from ntrader.services.refusals import about

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace

router = APIRouter(prefix="/datasets", tags=["datasets"])

type Name = Annotated[str, Query(min_length=1, max_length=255)]
type Text = Annotated[str | None, Query(min_length=1, max_length=255)]
type Precision = Annotated[int | None, Query(ge=0, le=8)]

_ODD = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME = 100

_BARS = {
    "text/csv": {"schema": {"type": "string"}},
    "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


@router.post(
    "",
    operation_id="uploadDataset",
    status_code=HTTPStatus.CREATED,
    response_model=UploadedDocument,
    responses={
        200: {"model": UploadedDocument, "description": "The same bars were there before."},
        **problem_responses(400, 401, 403, 409, 413, 415, 422, 503),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BARS}},
)
async def upload_dataset(
    request: Request,
    service: TheService,
    principal: Writer,
    symbol: Name,
    venue: Name,
    kind: InstrumentKind,
    timeframe: Annotated[str, Query(max_length=16, examples=["1d"])],
    name: Text = None,
    description: Annotated[str, Query(max_length=10_000)] = "",
    currency: Text = None,
    price_precision: Precision = None,
    size_precision: Precision = None,
    timezone: Text = None,
    columns: Text = None,
    day_first: bool | None = None,
    filename: Text = None,
    key: IdempotencyKey = None,
) -> Response:
    """Upload bars as CSV or Parquet: the body is the file. One bad line refuses the whole file."""
    with about("timeframe"):
        bars = Timeframe.parse(timeframe)
    async with _received(request, service, filename or "upload") as (path, digest):
        wanted = ImportRequest(
            path=path,
            symbol=symbol,
            venue=venue,
            kind=kind,
            timeframe=bars,
            name=name,
            description=description,
            currency=currency,
            price_precision=price_precision,
            size_precision=size_precision,
            timezone=timezone,
            columns=columns,
            day_first=day_first,
            source=filename or "upload",
        )

        async def work(_subject: UUID) -> Answer:
            async def importing(workspace: Workspace) -> Answer:
                imported = await import_dataset(workspace, wanted)
                document = {
                    **dataset_document(imported.dataset),
                    "new": imported.is_new,
                    "warnings": list(imported.warnings),
                }
                return Answer(
                    document,
                    HTTPStatus.CREATED if imported.is_new else HTTPStatus.OK,
                    {"Location": f"/api/v1/datasets/{imported.dataset.id}"},
                )

            return await service.aside(importing)

        asked = {"query": sorted(request.query_params.multi_items()), "body": digest}
        answer = await Once(service, request, principal, key).answer(asked, work)
    return answer.response()


@asynccontextmanager
async def _received(
    request: Request, service: Service, name: str
) -> AsyncIterator[tuple[Path, str]]:
    """Give the body as a file and its hash; a part of it at a time is in memory.

    The file is called `name`, which what is wrong with it is told of, as far as that is harmless.
    """
    directory = service.workspace.home / "uploads" / str(uuid4())
    directory.mkdir(mode=0o700, parents=True)
    path = directory / (_ODD.sub("_", name)[-_LONGEST_NAME:].lstrip(".") or "upload")
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("xb") as file:
            async for chunk in request.stream():
                digest.update(chunk)
                size += len(chunk)
                await asyncio.to_thread(file.write, chunk)
        if size == 0:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "The body is empty: send the file as it is.",
                code="invalid_data",
            )
        yield path, digest.hexdigest()
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


@router.get(
    "",
    operation_id="listDatasets",
    response_model=DatasetList,
    responses=problem_responses(401, 403, 422, 503),
)
async def list_all(
    request: Request,
    service: TheService,
    _principal: Reader,
    symbol: Text = None,
    timeframe: Annotated[str | None, Query(max_length=16)] = None,
    name: Text = None,
) -> Response:
    """List the datasets, newest first."""
    found = [
        dataset
        for dataset in await list_datasets(service.workspace)
        if symbol in (None, dataset.instrument.symbol)
        and timeframe in (None, str(dataset.timeframe))
        and name in (None, dataset.name)
    ]
    return tagged(request, {"datasets": [dataset_document(dataset) for dataset in found]})


@router.get(
    "/{dataset_id}",
    operation_id="getDataset",
    response_model=DatasetDocument,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_one(
    request: Request, service: TheService, _principal: Reader, dataset_id: UUID
) -> Response:
    """Return one dataset."""
    store = await service.workspace.store()
    return tagged(request, dataset_document(await store.datasets.get(dataset_id)))


@router.delete(
    "/{dataset_id}",
    operation_id="deleteDataset",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problem_responses(401, 403, 404, 409, 422, 503),
)
async def delete_one(service: TheService, _principal: Writer, dataset_id: UUID) -> Response:
    """Delete a dataset that no run uses."""
    await service.aside(lambda workspace: delete_dataset(workspace, str(dataset_id)))
    return Response(status_code=HTTPStatus.NO_CONTENT)
