"""Rows that repeat: found by their whole content, and gradients that lose nothing."""

import torch

from morello.backbones.repeats import Remembered, distinct, repeat


def test_distinct_rows_in_the_order_of_their_appearance():
    x = torch.tensor([[3, 0, 0], [0, 3, 0], [3, 0, 0], [3, 0, 7], [0, 0, 0], [3, 0, 7]], dtype=torch.uint8)
    rows, index = distinct(x)
    assert rows.tolist() == [[3, 0, 0], [0, 3, 0], [3, 0, 7], [0, 0, 0]]
    assert index.tolist() == [0, 1, 0, 2, 3, 2]
    turned = torch.stack([x, 5 * x], dim=2).transpose(1, 2)[:, 1]  # not contiguous
    assert distinct(turned)[1].tolist() == [0, 1, 0, 2, 3, 2]


def test_a_repeated_rows_gradient_is_exact_in_bfloat16():
    rows = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    index = torch.tensor([1] * 1000 + [0])
    repeated = repeat(rows, index)
    assert repeated.dtype == torch.bfloat16
    repeated.sum().backward()
    assert rows.grad.tolist() == [[1, 1, 1], [1000, 1000, 1000]]  # a sum in bfloat16 ends at 256
    exact = torch.randn(4, 2, dtype=torch.float32, requires_grad=True)
    weights = torch.randn(5, 2)
    (repeat(exact, torch.tensor([3, 0, 3, 3, 2])) * weights).sum().backward()
    expected = torch.stack([weights[1], torch.zeros(2), weights[4], weights[0] + weights[2] + weights[3]])
    torch.testing.assert_close(exact.grad, expected)


def test_known_results_are_never_computed_again():
    given = []

    def compute(x):
        given.extend(x.flatten().tolist())
        return x.double() * 10

    known = Remembered(compute)
    for numbers in ([4, 4, 9], [9], [1, 4, 7, 7, 2, 3], [5, 6, 3, 8, 4, 0]):
        tens = known(torch.tensor(numbers, dtype=torch.uint8).unsqueeze(1))
        assert tens.flatten().tolist() == [10 * n for n in numbers]
    assert given == [4, 9, 1, 7, 2, 3, 5, 6, 8, 0]
