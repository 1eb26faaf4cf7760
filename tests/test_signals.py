"""Claims about being asked to stop, with real signals to this process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from gan_transfer.errors import Interrupted
from gan_transfer.signals import StopSignal, stop_signal

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_is_remembered_and_ends_nothing(number: signal.Signals) -> None:
    with stop_signal() as stop:
        assert stop.signum == 0
        os.kill(os.getpid(), number)
        assert stop.signum == number


@BOTH
def test_work_that_can_stop_anywhere_stops_at_its_next_check(number: signal.Signals) -> None:
    with stop_signal() as stop:
        stop.check("packing")
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted, match="stopped while packing") as caught:
            stop.check("packing")
    assert caught.value.exit_code == 128 + number
    assert caught.value.signal_name == number.name


def test_a_second_signal_ends_the_work_at_once() -> None:
    with pytest.raises(Interrupted, match="second signal") as caught, stop_signal():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_the_handlers_of_before_are_put_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), stop_signal():
        assert signal.getsignal(signal.SIGTERM) not in before
        _ = 1 / 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_nothing_is_caught() -> None:
    seen: list[object] = []

    def work() -> None:
        with stop_signal() as stop:
            seen.extend([stop.signum, signal.getsignal(signal.SIGTERM)])

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [0, before]


def test_a_stop_signal_that_got_nothing_lets_work_go_on() -> None:
    assert StopSignal().check("packing") is None  # type: ignore[func-returns-value]


@BOTH
def test_work_that_can_be_done_again_ends_at_once(number: signal.Signals) -> None:
    looking = pytest.raises(Interrupted, match="stopped while looking")
    with looking as caught, stop_signal() as stop, stop.at_once("looking"):
        os.kill(os.getpid(), number)
        time.sleep(30)
    assert caught.value.exit_code == 128 + number


def test_whatever_becomes_of_the_interruption_inside_the_work_it_is_told_as_one() -> None:
    with pytest.raises(Interrupted, match="stopped while fetching"), stop_signal() as stop, stop.at_once("fetching"):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except Exception as error:
            raise ValueError("the download failed") from error


def test_behind_such_work_a_signal_is_remembered_again() -> None:
    with stop_signal() as stop:
        with stop.at_once("looking"):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped while packing"), stop.at_once("packing"):
            raise AssertionError("it is not begun")


def test_an_error_of_the_work_itself_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), stop_signal() as stop, stop.at_once("looking"):
        _ = 1 / 0
