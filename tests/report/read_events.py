"""Prints what TensorBoard's own reader finds in a folder: FOLDER [COMMAND...]

With a command it has read the folder already when that one runs, and reads on, as a TensorBoard that is open.
"""

import json
import subprocess
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder, *command = sys.argv[1:]
# 0: all points, where TensorBoard draws a choice of them.
events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0}).Reload()
if command:
    subprocess.run(command, check=True, capture_output=True)
    events.Reload()
tags = events.Tags()
scalars = {
    tag: [[event.step, event.wall_time, event.value] for event in events.Scalars(tag)]
    for tag in tags["scalars"]
}
texts = {
    tag: [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)]
    for tag in tags["tensors"]
}
print(json.dumps({"scalars": scalars, "texts": texts}))
