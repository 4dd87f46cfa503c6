"""oneDNN's inner product, which apply_linear calls, against the library behind at::linear and at::mm.

usage: .venv-dev/bin/python bench/products_peer.py [--threads 2] [--runs 12]

For rows x outputs x inputs in float32: GFLOP/s of the forward product, of the gradient of the input
and of the gradient of the weight, each by both, in alternation (the time below which a third of the
runs lie). The last shapes are small: from where on oneDNN pays (kMinMacs of src/kernels/linear.cpp).
"""

import argparse
import time

import torch

SHAPES = [(4096, 384, 384), (4096, 1536, 384), (4096, 384, 1536), (512, 576, 576), (512, 192, 576),
          (512, 1536, 576), (512, 576, 1536), (512, 49152, 576), (510, 1536, 576), (512, 3072, 768),
          (16, 256, 256), (64, 128, 128), (64, 256, 256), (128, 256, 256), (256, 256, 256)]


def seconds(calls, runs):
    """Of each call, taken in turn."""
    taken = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(runs):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            taken[i].append(time.perf_counter() - start)
    return [sorted(times)[runs // 3] for times in taken]


def onednn(x, weight):
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        for rows, outputs, inputs in SHAPES:
            x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
            grad = torch.randn(rows, outputs)
            taken = seconds([lambda: torch.nn.functional.linear(x, weight),
                             lambda: onednn(x, weight),
                             lambda: grad @ weight, lambda: onednn(grad, weight.t()),
                             lambda: grad.t() @ x, lambda: onednn(grad.t(), x.t())], args.runs)
            rate = [2e-9 * rows * outputs * inputs / t for t in taken]
            print(f"{rows:5} x {outputs:5} x {inputs:4}: forward {rate[0]:4.0f} and oneDNN {rate[1]:4.0f}"
                  f" | input's gradient {rate[2]:4.0f} and {rate[3]:4.0f}"
                  f" | weight's gradient {rate[4]:4.0f} and {rate[5]:4.0f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
