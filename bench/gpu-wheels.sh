#!/bin/sh
# Gathers wheels (Python 3.12, Linux x86-64) for bench/gpu.py on a machine without a network:
#
#     bench/gpu-wheels.sh wheels        here; at most 60 MB, carried beside the source tree
#     python3 -m pip install --no-index --find-links wheels -r bench/gpu-requirements.txt    there
#
# torch has to be there already, with numpy, huggingface-hub, tokenizers, safetensors, regex, PyYAML
# and tqdm. pip keeps what is there and new enough; remove scipy, the largest, if it is there too.
# A relative folder is one of the source tree.
set -eu
out=${1:-wheels}
most_mb=60
cd "$(dirname "$0")/.."
mkdir -p "$out"
if [ -n "$(ls "$out")" ]; then
    echo "error: $out is not empty; give a new folder, or remove this one" >&2
    exit 2
fi
${PIP:-python3 -m pip} download --quiet --only-binary=:all: \
    --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --constraint constraints.txt --requirement bench/gpu-requirements.txt --dest "$out"
# What an environment with torch and transformers has.
for name in numpy hf_xet tokenizers safetensors huggingface_hub regex pyyaml PyYAML; do
    rm -f "$out/$name"-*.whl
done
bytes=$(cat "$out"/*.whl | wc -c)
echo "$out: $(ls "$out" | wc -l) wheels, $((bytes / 1000000)) MB"
if [ "$bytes" -gt $((most_mb * 1000000)) ]; then
    echo "error: $out has $((bytes / 1000000)) MB, above $most_mb MB; remove what is there already" >&2
    exit 2
fi
