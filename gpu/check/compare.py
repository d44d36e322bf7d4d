# SPDX-License-Identifier: Apache-2.0
"""Compares the GPU engine with transformers: its vectors with those of float32, its times with
those of eager and compiled float16 on the same card. Needs torch and transformers.

    compare.py FORWARD WORK_DIR [--model DIR] [--quick] [--json FILE]

FORWARD is the program of forward_main.cc. Without --model the weights are random, of MiniLM's
shape. The times are of whole calls: token ids in the host's memory to vectors in the host's memory.
"""

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import time

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

MINILM = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
BASE = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
SECOND = 1 << 30  # marks a token of the second segment
MEAN, FIRST, LABELS = 0, 1, 2
RAW, UNIT = 0, 1


def make_encoder(shape, folder=None):
    if folder:
        return BertModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    torch.manual_seed(7)
    model = BertModel(BertConfig(vocab_size=30522, **shape)).eval()
    return spread_out(model)


def spread_out(model):
    """Gives the random parameters a trained one's spread; at the start all norms are 1 and 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm.weight" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.05)
            elif parameter.dim() == 2 and "embeddings" not in name:
                parameter.mul_(2)
    return model


def write_model(model, path, output, finish):
    bert = getattr(model, "bert", model)
    config = model.config
    labels = config.num_labels if output == LABELS else 0
    with open(path, "wb") as file:
        numbers = [config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
                   config.intermediate_size, config.vocab_size, config.max_position_embeddings,
                   config.type_vocab_size, labels, config.max_position_embeddings]
        file.write(struct.pack("<9I", *numbers))
        file.write(struct.pack("<fII", config.layer_norm_eps, output, finish))

        def tensor(value):
            data = value.detach().float().cpu().contiguous()
            file.write(struct.pack("<I", data.numel()))
            file.write(data.numpy().tobytes())

        def pair(module):
            tensor(module.weight)
            tensor(module.bias)

        tables = bert.embeddings
        for table in (tables.word_embeddings, tables.position_embeddings,
                      tables.token_type_embeddings):
            tensor(table.weight)
        pair(tables.LayerNorm)
        for layer in bert.encoder.layer:
            for module in (layer.attention.self.query, layer.attention.self.key,
                           layer.attention.self.value, layer.attention.output.dense,
                           layer.attention.output.LayerNorm, layer.intermediate.dense,
                           layer.output.dense, layer.output.LayerNorm):
                pair(module)
        if labels:
            pair(bert.pooler.dense)
            pair(model.classifier)


def write_batches(batches, path):
    with open(path, "wb") as file:
        for batch in batches:
            file.write(struct.pack("<I", len(batch)))
            for row in batch:
                file.write(struct.pack(f"<I{len(row)}I", len(row), *row))


def texts(lengths, pairs=False):
    rows = []
    for length in lengths:
        row = [random.randrange(1000, 30000) for _ in range(length)]
        row[0] = 101
        row[-1] = 102
        if pairs:
            row = [t if i < length // 2 else t + SECOND for i, t in enumerate(row)]
        rows.append(row)
    return rows


def pad(batch):
    longest = max(map(len, batch))
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    types = torch.zeros_like(ids)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(batch):
        ids[i, :len(row)] = torch.tensor([t % SECOND for t in row])
        types[i, :len(row)] = torch.tensor([t // SECOND for t in row])
        mask[i, :len(row)] = 1
    return ids, types, mask


def pool(hidden, mask):
    mask = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean.float(), dim=1)


def reference(model, batch, output):
    outs = []
    with torch.no_grad():
        for row in batch:  # one by one: no padding that could matter
            ids, types, mask = (t.cuda() for t in pad([row]))
            if output == LABELS:
                out = model(input_ids=ids, token_type_ids=types, attention_mask=mask).logits
            else:
                hidden = model(input_ids=ids, token_type_ids=types,
                               attention_mask=mask).last_hidden_state
                out = pool(hidden, mask) if output == MEAN else torch.nn.functional.normalize(
                    hidden[:, 0], dim=1)
            outs.append(out.float().cpu())
    return torch.cat(outs)


def run(forward, *arguments):
    done = subprocess.run([forward, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"forward failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def compare(name, model, output, work, forward, quick):
    random.seed(3)
    lengths = [[1], [32], [1, 63, 64, 65, 512], [random.randint(2, 200) for _ in range(64)],
               [128] * 32]
    if not quick:
        lengths.append([random.randint(2, 128) for _ in range(256)])
    batches = [texts(l, pairs=output == LABELS) for l in lengths]
    write_model(model, f"{work}/model.bin", output, RAW if output == LABELS else UNIT)
    write_batches(batches, f"{work}/batches.bin")
    run(forward, f"{work}/model.bin", f"{work}/batches.bin", f"{work}/out.bin")
    with open(f"{work}/out.bin", "rb") as file:
        got = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    model = model.cuda()
    wanted = torch.cat([reference(model, batch, output) for batch in batches])
    got = got.reshape(wanted.shape)
    if output == LABELS:
        result = {"logit_error_max": (got - wanted).abs().max().item()}
        good = result["logit_error_max"] <= 2e-2
    else:
        cosine = torch.nn.functional.cosine_similarity(got.double(), wanted.double(), dim=1)
        result = {"cosine_min": cosine.min().item(),
                  "length_error_max": (got.norm(dim=1) - 1).abs().max().item()}
        good = result["cosine_min"] >= 0.9999 and result["length_error_max"] < 1e-4
    result["texts"] = len(wanted)
    print(f"{name}: {result} {'ok' if good else 'FAILED'}", flush=True)
    return result, good


SWEEP = [(1, 8), (1, 32), (1, 128), (8, 32), (32, 32), (32, 128), (64, 512), (256, 128)]


def sweep_batches(quick):
    random.seed(5)
    sweep = [(f"{n}x{l}", texts([l] * n)) for n, l in SWEEP]
    sweep.append(("32 mixed", texts([random.randint(4, 128) for _ in range(32)])))
    sweep.append(("256 mixed", texts([random.randint(4, 200) for _ in range(256)])))
    return [s for s in sweep if not quick or s[0] in ("1x32", "32x128", "256x128")]


def time_ours(model, sweep, work, forward):
    write_model(model, f"{work}/model.bin", MEAN, UNIT)
    write_batches([batch for _, batch in sweep], f"{work}/batches.bin")
    text = run(forward, f"{work}/model.bin", f"{work}/batches.bin", "time")
    rows = [line.split() for line in text.splitlines() if line.startswith("time ")]
    others = [line for line in text.splitlines() if not line.startswith("time ")]
    print("\n".join(others), flush=True)
    submissions = next(float(l.split()[1]) for l in others if l.startswith("submissions"))
    times = {name: {"median_us": float(r[3]), "best_us": float(r[4]), "engine_us": float(r[5]),
                    "nodes": int(r[6]), "tokens": int(r[2])}
             for (name, _), r in zip(sweep, rows)}
    return times, submissions


def time_torch(call, batch, seconds):
    ids, types, mask = pad(batch)
    equal = bool(mask.all())
    ids = ids.pin_memory()
    mask = mask.pin_memory()

    def once():
        there = ids.cuda(non_blocking=True)
        with torch.no_grad():
            out = call(there, None if equal else mask.cuda(non_blocking=True))
        return out.cpu()

    for _ in range(5):
        once()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 20 or (time.perf_counter() < end and len(times) < 300):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def torch_calls(model):
    half = model.half().cuda()

    def call(ids, mask):
        hidden = half(input_ids=ids, attention_mask=mask).last_hidden_state
        if mask is None:
            return torch.nn.functional.normalize(hidden.mean(1).float(), dim=1)
        return pool(hidden, mask)

    return call


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("forward")
    parser.add_argument("work")
    parser.add_argument("--model")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    result = {"card": torch.cuda.get_device_name(), "torch": torch.__version__}
    good = True

    def checked(name, model, output):
        nonlocal good
        result[name], fine = compare(name, model, output, args.work, args.forward, args.quick)
        good = good and fine

    checked("MiniLM mean", make_encoder(MINILM, args.model), MEAN)
    if not args.quick:
        checked("MiniLM first, random", make_encoder(MINILM), FIRST)
        checked("base, random", make_encoder(BASE), MEAN)
    torch.manual_seed(11)
    pairs = BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=3, **MINILM))
    checked("pairs, random", spread_out(pairs).eval(), LABELS)

    sweep = sweep_batches(args.quick)
    encoder = make_encoder(MINILM, args.model)
    times, result["submissions_per_batch"] = time_ours(encoder, sweep, args.work, args.forward)
    good = good and result["submissions_per_batch"] == 1
    soaked = run(args.forward, f"{args.work}/model.bin", f"{args.work}/batches.bin", "soak",
                 5 if args.quick else 20)
    print(soaked.splitlines()[-1], flush=True)
    result["soak"] = soaked.splitlines()[-1]
    call = torch_calls(encoder)
    for name, batch in sweep:
        times[name]["eager_us"] = time_torch(call, batch, 1)
    for name, batch in sweep:
        if args.no_compile or name in ("1x8", "8x32", "32x32", "256 mixed"):
            continue
        torch._dynamo.reset()
        compiled = torch.compile(call, mode="reduce-overhead", dynamic=False)
        times[name]["compiled_us"] = time_torch(compiled, batch, 1)
    result["times"] = times
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1)
    print(f"\n{result['card']}, torch {result['torch']}; microseconds per batch, medians")
    print(f"{'batch':>10} {'tokens':>7} {'ours':>9} {'best':>9} {'engine':>9} {'eager':>9} "
          f"{'compiled':>9} {'ratio':>6} {'nodes':>5}")
    for name, t in times.items():
        compiled = t.get("compiled_us")
        print(f"{name:>10} {t['tokens']:7d} {t['median_us']:9.1f} {t['best_us']:9.1f} "
              f"{t['engine_us']:9.1f} {t['eager_us']:9.1f} "
              + (f"{compiled:9.1f} {compiled / t['median_us']:6.2f}" if compiled else " " * 16)
              + f" {t['nodes']:5d}")
    print("submissions per batch:", result["submissions_per_batch"])
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
