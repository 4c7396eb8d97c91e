"""What a process of the fault suite has loaded before it is forked; nothing here computes, so no thread is left."""

import os
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    import peft  # noqa: F401
    import torch
    import torch.utils.tensorboard
    import transformers  # noqa: F401

    import hafs.train
    import hafs.training.session  # noqa: F401

torch.set_num_threads(1)
