"""Kernels compile for GPUs; that needs no GPU, since Warp brings its own compiler for CUDA."""

import ast
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest
import warp as wp

import morello.envs
from morello.envs.labyrinth import kernels as package

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="Warp for macOS brings no compiler for CUDA")

ARCHITECTURES = 80, 90
"""Compute capabilities of A100 and H100."""


def kernels():
    """Every kernel of Labyrinth, also those with a Warp module of their own."""
    found = set()
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        python_module = importlib.import_module(name)
        found.update(wp.get_module(name).kernels.values())
        found.update(value for value in vars(python_module).values() if isinstance(value, wp.Kernel))
    return found


def declared(source):
    """Names of functions that ``source`` decorates with ``wp.kernel``, plainly or with options."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("wp.kernel") for decorator in node.decorator_list)
    ]


def entries(module, folder):
    """Compile a Warp module to PTX in ``folder``; by target, such as "sm_90", the names of its entry points."""
    files = wp.compile_aot_module(module, arch=ARCHITECTURES, module_dir=folder, use_ptx=True)
    assert all(file.is_relative_to(folder) for file in files)
    found = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        (target,) = re.findall(r"^\.target (\w+)", text, re.MULTILINE)
        found[target] = re.findall(r"\.entry (\w+)\(", text)
    return found


def is_entry(name, kernel):
    """Whether an entry point of this name is ``kernel``, whose name is followed by a hash of its code."""
    return re.fullmatch(rf"{kernel.key}_[0-9a-f]+_cuda_kernel_forward", name)


def test_every_kernel_is_found():
    sources = [file.read_text(encoding="utf-8") for file in Path(morello.envs.__file__).parent.rglob("*.py")]
    there = sorted(name for source in sources for name in declared(source))
    assert len(there) >= 3
    assert sorted(kernel.key for kernel in kernels()) == there


def test_every_kernel_compiles_for_gpus(tmp_path):
    found = kernels()
    for module in {kernel.module for kernel in found}:
        by_target = entries(module, tmp_path / module.name)
        assert by_target.keys() == {f"sm_{n}" for n in ARCHITECTURES}
        for kernel in (kernel for kernel in found if kernel.module is module):
            for target, there in by_target.items():
                assert any(is_entry(name, kernel) for name in there), f"{kernel.key} for {target}"


def test_what_only_a_processor_can_do_does_not_compile(tmp_path):
    """The control: a kernel that compiles for the CPU, and not for a GPU."""

    @wp.func_native("static thread_local int calls = 0; return calls += x;")
    def count(x: int) -> int: ...

    @wp.kernel(module="unique", enable_backward=False, module_options={"cpu_compiler_flags": ""})
    def only_on_a_cpu(x: wp.array(dtype=int)):
        x[wp.tid()] = count(x[wp.tid()])

    module = only_on_a_cpu.module
    assert wp.compile_aot_module(module, device="cpu", module_dir=tmp_path / "cpu")[0].exists()
    with pytest.raises(Exception, match="CUDA kernel build failed"):
        entries(module, tmp_path / "gpu")
