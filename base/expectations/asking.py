"""Ask Great Expectations, apart from the process that asks.

Great Expectations takes seconds and 200 MB to import. As a process of its own (``python -m base.expectations.asking``)
it loads on the second core while rows are still being extracted, and has given its memory back before a model
is fitted. docs/decisions/0004-great-expectations-apart.md has the figures.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from contextlib import redirect_stdout
from types import TracebackType

from base.errors import DefinitionError
from base.expectations.counted_suite import define_row_rule
from base.expectations.named import run_named
from base.expectations.results import Answer, ExpectationResult, Question
from base.expectations.suite_runs import ExpectationsFailed, judge_counts

__all__ = ["Answer", "ExpectationResult", "ExpectationsFailed", "ExpectationsProcess", "Question"]


class ExpectationsProcess:
    """A child process in which Great Expectations loads while the parent does something else.

    Examples
    --------
    ``with ExpectationsProcess() as process: … process.ask(question)``. Where Great Expectations is
    imported already, as in a warm worker, no child is started and the suite runs here.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Let the child load; nothing to do where it loads already, or need not."""
        if self._child is None and "great_expectations" not in sys.modules:
            self._child = subprocess.Popen(
                # -P: the working directory may hold a base.py, which must not hide the package of that name.
                [sys.executable, "-P", "-m", "base.expectations.asking"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def close(self) -> None:
        """End a child that was never asked; it only reads, so killing it loses nothing."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def __enter__(self) -> ExpectationsProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_apart(self) -> bool:
        """Tell whether a child judges, while this process can do something else."""
        return self._child is not None

    def ask(self, question: Question) -> Answer:
        """Have a suite judged; once for each process.

        Raises
        ------
        ExpectationsFailed
            If the child ends without an answer, or an expectation could not be judged.
        DefinitionError
            If the contract names an expectation that there is not, or names it wrongly.
        """
        if self._child is None:
            return _checked(answer_question(question))
        answer, complaints = self._child.communicate(question.model_dump_json())
        code, self._child = self._child.returncode, None
        if code != 0:
            last = complaints.strip().splitlines()[-1:] or ["no message"]
            raise ExpectationsFailed(f"Great Expectations ended with code {code}: {last[0]}")
        return _checked(Answer.model_validate_json(answer))


_ahead = ExpectationsProcess()


def load_expectations_ahead() -> None:
    """Let Great Expectations load in a process of its own now, since rows to judge are on their way."""
    _ahead.start()


def take_expectations() -> ExpectationsProcess:
    """Return the process that was started ahead, or one that is yet to start."""
    return _ahead


def answer_question(question: Question) -> Answer:
    """Judge in this process; what is wrong with the question is part of the answer."""
    try:
        results = judge_counts(question.suite, question.counts)
        code = {name: text.encode() for name, text in question.code.items()}
        named = run_named(question.named, question.files, code) if question.named else []
    except DefinitionError as error:
        return Answer(wrong_contract=str(error))
    except ExpectationsFailed as error:
        return Answer(failure=str(error))
    return Answer(results=tuple(results), named=tuple(named))


def _checked(answer: Answer) -> Answer:
    if answer.wrong_contract is not None:
        raise DefinitionError(answer.wrong_contract)
    if answer.failure is not None:
        raise ExpectationsFailed(answer.failure)
    for result in (*answer.results, *answer.named):
        if result.error:
            raise ExpectationsFailed(
                f"Great Expectations could not judge {result.type} {result.arguments}: {result.error}; "
                "correct the contract"
            )
    return answer


def _answer() -> None:
    # Thousands of classes are made by the import and none is thrown away: the collector would look for nothing.
    gc.disable()
    # Great Expectations does without SQLAlchemy, which frames do not need, and is ready a tenth sooner.
    sys.modules["sqlalchemy"] = None  # type: ignore[assignment]
    # This is what takes the time; the question comes later.
    import great_expectations.expectations.core
    import great_expectations.validator.validator  # noqa: F401

    define_row_rule()

    question = Question.model_validate_json(sys.stdin.read())
    # What the user's own code prints is no part of the answer.
    with redirect_stdout(sys.stderr):
        answer = answer_question(question)
    sys.stdout.write(answer.model_dump_json())


if __name__ == "__main__":
    _answer()
