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

from fastapi import Query, Request, Response

from ntrader.api.context import Service, TheService
from ntrader.api.documents import Answer, tagged
from ntrader.api.filters import parameter
from ntrader.api.idempotency import OnceOnly
from ntrader.api.positions import Paged
from ntrader.api.problems import ProblemError
from ntrader.api.routing import Router
from ntrader.api.schemas import DatasetDocument, DatasetList, UploadedDocument
from ntrader.domain.dataset_documents import dataset_document
from ntrader.domain.datasets import DatasetFilter, InstrumentKind
from ntrader.domain.timeframes import Timeframe
from ntrader.services.datasets import ImportRequest, delete_dataset, import_dataset, list_datasets

if TYPE_CHECKING:
    from ntrader.services.workspace import Workspace

router = Router("datasets", "/datasets")

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


@router.takes(
    "",
    "uploadDataset",
    UploadedDocument,
    status=HTTPStatus.CREATED,
    responses={200: {"model": UploadedDocument, "description": "The same bars were there before."}},
    openapi_extra={"requestBody": {"required": True, "content": _BARS}},
)
async def upload_dataset(
    request: Request,
    service: TheService,
    once: OnceOnly,
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
) -> Response:
    """Upload bars as CSV or Parquet: the body is the file. One bad line refuses the whole file."""
    with parameter("timeframe"):
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
        return await once.response(asked, work)


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


@router.shows("", "listDatasets", DatasetList)
async def list_all(
    request: Request,
    service: TheService,
    page: Paged,
    name: Text = None,
    symbol: Text = None,
    venue: Text = None,
    kind: InstrumentKind | None = None,
    timeframe: Annotated[str | None, Query(max_length=16, examples=["1d"])] = None,
) -> Response:
    """List the datasets, newest first."""
    with parameter("timeframe"):
        bars = None if timeframe is None else Timeframe.parse(timeframe)
    where = DatasetFilter(name=name, symbol=symbol, venue=venue, kind=kind, timeframe=bars)
    found = await list_datasets(service.workspace, where, limit=page.one_more, after=page.after)
    shown, following = page.split(found, lambda each: (each.created_at, each.id))
    documents = [dataset_document(each) for each in shown]
    return tagged(request, {"datasets": documents, "next": following})


@router.shows("/{dataset_id:uuid}", "getDataset", DatasetDocument, 404)
async def get_one(request: Request, service: TheService, dataset_id: UUID) -> Response:
    """Return one dataset."""
    store = await service.workspace.store()
    return tagged(request, dataset_document(await store.datasets.get(dataset_id)))


@router.deletes("/{dataset_id:uuid}", "deleteDataset", 409)
async def delete_one(service: TheService, dataset_id: UUID) -> Response:
    """Delete a dataset that no run uses."""
    await service.aside(lambda workspace: delete_dataset(workspace, str(dataset_id)))
    return Response(status_code=HTTPStatus.NO_CONTENT)
