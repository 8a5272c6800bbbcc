"""`GET /runs` against the oracle of lists: what `ntrader history` takes as options, asked."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest

from ntrader.storage.database import Database
from ntrader.storage.store import Store
from support.database import Background
from support.list_oracle import listed
from support.list_questions import Question, Questions, as_options
from support.listed_runs import ListedRun, make_runs, save_runs
from support.service import Api, ServiceProcess, process


@pytest.fixture(scope="module")
def service(
    service_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service that runs nothing: lists are all that is asked of it."""
    directory = tmp_path_factory.mktemp("service")
    with process(directory, service_environment, "serve", "--port", "0") as started:
        yield started


@pytest.fixture(scope="module")
def saved(service_environment: dict[str, str], background: Background) -> Sequence[ListedRun]:
    runs = make_runs(Random(0), 200)
    database = Database(service_environment["DATABASE_URL"])
    try:
        background.run(save_runs(Store.of(database), runs))
    finally:
        background.run(database.close())
    return runs


def questions_of(runs: Sequence[ListedRun], count: int) -> Iterator[tuple[Question, list[str]]]:
    """Give questions that find something and fit in a query."""
    questions = Questions(Random(5), runs, texts_have_order=False)
    while count:
        question = questions.question()
        options = as_options(question)
        found = any(map(question.wanted.holds, runs))
        if options is not None and found and len(question.text or "") <= 1_000:
            count -= 1
            yield question, options


def test_a_list_is_what_plain_python_finds(api: Api, saved: Sequence[ListedRun]) -> None:
    for question, options in questions_of(saved, 25):
        given = [option.removeprefix("--").partition("=") for option in options]
        query = [(name.replace("-", "_"), value) for name, _, value in given]
        found: list[Any] = []
        after: list[tuple[str, str]] = []
        while not found or after:
            answer = api.client.get("/runs", params=[*query, *after])
            assert answer.status_code == 200, f"{question}: {answer.text}"
            found += answer.json()["runs"]
            after = [("after", answer.json()["next"])] if answer.json()["next"] else []
        expected = listed(saved, question.wanted, question.by, ascending=question.ascending)
        assert [run["run_id"] for run in found] == [str(run.run_id) for run in expected], (
            f"{question}"
        )
