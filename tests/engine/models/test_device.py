"""Choosing where and in what numbers to compute; torch's failures in the engine's words."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from server.engine.models import device
from server.engine.models.base import DeviceLostError, OutOfMemoryError
from server.engine.models.device import (
    choose_device,
    choose_dtype,
    choose_threads,
    on_one_thread,
    translating,
)

CPU = torch.device("cpu")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@without_gpu
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_device("auto") == CPU


@without_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused_with_their_number(name: str) -> None:
    with pytest.raises(ValueError, match="0 GPUs"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "meta", "mps", ""])
def test_an_unknown_device_is_refused_with_what_may_be_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="try auto, cpu or cuda"):
        choose_device(name)


def test_named_numbers_are_taken() -> None:
    assert choose_dtype("float32", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    assert choose_dtype("float16", torch.device("cuda")) is torch.float16


@pytest.mark.parametrize(("name", "said"), [("int8", "unknown dtype"), ("float16", "slower")])
def test_numbers_that_make_no_sense_on_a_cpu_are_refused(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choose_dtype(name, CPU)


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_only_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, *, native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert choose_dtype("auto", CPU) is (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize(
    ("quota", "cpus"), [("200000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", None)]
)
def test_a_containers_quota_bounds_the_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cpus: int | None
) -> None:
    before = torch.get_num_threads()
    limits = tmp_path / "cpu.max"
    limits.write_text(quota)
    monkeypatch.setattr(device, "CPU_QUOTA", limits)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    try:
        assert choose_threads() == torch.get_num_threads() == (cpus or 8)
        assert choose_threads(3) == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_real_failure_to_allocate_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemoryError):
        translating(torch.empty)(10**14)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("[ONNXRuntimeError] : 6 : RuntimeException : Failed to allocate memory for"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Exception during loading: std::bad_alloc"),
        MemoryError(),
    ],
)
def test_no_room_is_out_of_memory_however_it_is_said(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError):
        translating(failing)(error)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUBLAS error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_poisoned_context_is_a_lost_device(text: str) -> None:
    with pytest.raises(DeviceLostError, match=text):
        translating(failing)(RuntimeError(text))


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("a bad prompt")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        translating(failing)(error)
    assert caught.value is error


def test_the_failed_calls_tensors_are_free_while_our_error_is_handled() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def fail_with_a_tensor() -> None:
        tensor = torch.zeros(8)
        kept.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("no room")

    gc.disable()
    try:
        with pytest.raises(OutOfMemoryError) as caught:
            translating(fail_with_a_tensor)()
        assert caught.value.__context__ is None
        assert kept[0]() is None
    finally:
        gc.enable()


def failing(error: Exception) -> None:
    raise error


def test_work_on_one_thread_gives_the_others_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert on_one_thread()(torch.get_num_threads)() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
