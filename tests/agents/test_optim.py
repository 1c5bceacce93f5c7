"""RMSProp's two epsilons and two beginnings, against hand-worked numbers, TensorFlow's formula and torch; Adam."""

import math

import pytest
import torch

from morello.agents.optim import Adam, RMSProp


def change(gradient, steps=1, **options):
    """How far p has moved in the last of ``steps`` equal steps, lr 1."""
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = RMSProp([p], lr=1.0, **options)
    for _ in range(steps):
        before = p.item()
        p.grad = torch.tensor([gradient])
        optimizer.step()
    return before - p.item()


@pytest.mark.parametrize(
    ("epsilon", "inside", "expected"),
    [(0.1, True, 0.0316), (0.1, False, 0.0909), (0.01, True, 0.0995), (0.01, False, 0.5)],
)
def test_steady_state(epsilon, inside, expected):
    moved = change(0.01, 3000, epsilon=epsilon, epsilon_inside=inside)
    assert moved == pytest.approx(expected, rel=5e-3)


def test_first_step_from_a_mean_square_of_one():
    moved = change(0.01, epsilon=0.1, initial_mean_square=1.0, epsilon_inside=True)
    assert moved == pytest.approx(0.01 / math.sqrt(0.99 + 1e-6 + 0.1), rel=1e-6)
    assert moved == pytest.approx(0.00958, rel=1e-3)


def test_first_step_from_zero():
    assert change(0.5, epsilon=0.0, initial_mean_square=0.0) == pytest.approx(10)  # 1 / sqrt(1 - decay)


@pytest.mark.parametrize("steps", [1, 2, 300])
def test_without_a_beginning_it_is_adam_without_momentum(steps):
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5)) for _ in range(2))
    a = RMSProp([ours], lr=1e-2, decay=0.97, epsilon=1e-8, epsilon_inside=False, initial_mean_square=None)
    b = torch.optim.Adam([theirs], lr=1e-2, betas=(0.0, 0.97), eps=1e-8)
    for _ in range(steps):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_parameter_whose_first_gradient_comes_late_begins_then():
    early, late = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = RMSProp([early, late], lr=1.0, epsilon=0.0, initial_mean_square=None)
    for n in range(200):
        early.grad = torch.tensor([0.5])
        late.grad = torch.tensor([0.5]) if n == 199 else None
        optimizer.step()
    assert late.item() == pytest.approx(-1)  # one step of the learning rate, not 10
    assert early.item() == pytest.approx(-200)


def test_outside_and_zero_is_torchs():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Linear(7, 5) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    a = RMSProp(ours.parameters(), lr=1e-2, decay=0.9, epsilon=1e-3, epsilon_inside=False)
    b = torch.optim.RMSprop(theirs.parameters(), lr=1e-2, alpha=0.9, eps=1e-3)
    for _ in range(11):
        x = torch.randn(3, 7)
        for net, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-6)


def test_a_closed_gate_changes_nothing_even_for_nan():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = RMSProp([p], initial_mean_square=0.5)
    p.grad = torch.tensor([1.0, math.nan, math.inf])
    optimizer.step(gate=torch.tensor(False))
    assert p.tolist() == [1, 1, 1]
    assert optimizer.state[p]["mean_square"].tolist() == [0.5] * 3
    p.grad = torch.ones(3)
    optimizer.step(gate=torch.tensor(True))
    assert (p < 1).all()


def test_adam_is_torchs():
    torch.manual_seed(0)
    mine, its = ([torch.nn.Parameter(torch.ones(3, 5)), torch.nn.Parameter(torch.ones(7))] for _ in range(2))
    one, other = Adam(mine, lr=0.01), torch.optim.Adam(its, lr=0.01)
    for step in range(20):
        for p, q in zip(mine, its, strict=True):
            p.grad = q.grad = None if step % 3 and p.dim() == 1 else torch.randn_like(p) * 10.0 ** (step % 5 - 3)
        one.step()
        other.step()
        for p, q in zip(mine, its, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_closed_gate_moves_nothing_of_adam():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = Adam([p], lr=0.01)
    p.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step(gate=torch.tensor(True))
    before = [p.detach().clone(), *(x.clone() for k, x in optimizer.state[p].items() if k != "updates")]
    p.grad = torch.full((3,), torch.nan)
    optimizer.step(gate=torch.tensor(False))
    after = [p.detach(), *(x for k, x in optimizer.state[p].items() if k != "updates")]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", [RMSProp, Adam])
def test_skipped_steps_leave_no_trace_where_skipping_is_ordinary(kind):
    """The first steps, where a step too many in the count would show."""
    options = {"initial_mean_square": None} if kind is RMSProp else {}
    one, other = (torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    plain, gated = (kind([p], lr=0.1, **options) for p in (one, other))
    generator = torch.Generator().manual_seed(0)
    for made in (True, False, False, True, True, False, True):
        gradient = torch.randn(3, generator=generator)
        other.grad = gradient.clone()
        gated.step(gate=torch.tensor(made), ordinary=True)
        if made:
            one.grad = gradient.clone()
            plain.step()
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-6)
    assert gated.state[other]["updates"] == 7
    gated.settle()
    assert gated.state[other]["updates"] == plain.state[one]["updates"] == 4
    gated.settle()
    assert gated.state[other]["updates"] == 4
    torch.testing.assert_close(gated.state[other], plain.state[one])


@pytest.mark.parametrize("kind", [RMSProp, Adam])
@pytest.mark.parametrize("together", [True, False], ids=["one group", "two groups"])
def test_skipped_steps_are_counted_by_parameter(kind, together):
    """A parameter that had no gradient in a skipped step has skipped nothing."""
    options = {"initial_mean_square": None} if kind is RMSProp else {}
    mine, its = ([torch.nn.Parameter(torch.ones(2)) for _ in range(2)] for _ in range(2))
    plain, gated = (kind(ps if together else [{"params": [p]} for p in ps], lr=0.1, **options) for ps in (its, mine))
    for made, has in ((True, False), (False, False), (False, True), (False, False), (True, True), (True, True)):
        for one, other in (mine, its):
            one.grad, other.grad = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0]) if has else None
        gated.step(gate=torch.tensor(made), ordinary=True)
        if made:
            plain.step()
    torch.testing.assert_close(mine, its, atol=1e-6, rtol=1e-6)
    gated.settle()
    assert [gated.state[p]["updates"] for p in mine] == [plain.state[p]["updates"] for p in its] == [3, 2]


@pytest.mark.parametrize("of", ["parameter", "gradient", "moments", "view"])
def test_adam_in_any_memory_layout(of):
    torch.manual_seed(2)
    base = torch.randn(3, 5, 4, 14)
    start = base[..., ::2] if of == "view" else base[..., :7].contiguous()
    mine = [torch.nn.Parameter(start.to(memory_format=torch.channels_last) if of == "parameter" else start)]
    its = [torch.nn.Parameter(start.detach().clone().contiguous())]
    between = base[..., 1::2].clone()
    one, other = Adam(mine, lr=0.01), torch.optim.Adam(its, lr=0.01)
    if of == "moments":
        state = one.state[mine[0]]
        state["mean"] = state["mean"].to(memory_format=torch.channels_last)
    for _ in range(4):
        gradient = torch.randn(3, 5, 4, 7)
        layout = torch.channels_last if of == "gradient" else torch.contiguous_format
        mine[0].grad, its[0].grad = gradient.to(memory_format=layout), gradient
        before = mine[0]._version
        one.step()
        other.step()
        assert mine[0]._version > before, "in-place changes are visible to autograd and to what was kept"
    torch.testing.assert_close(mine[0].contiguous(), its[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(base[..., 1::2], between)
