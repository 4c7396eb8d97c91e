"""What a process of the fault suite has loaded before it is forked; nothing here computes, so no thread is left."""

import os
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.simplefilter("ignore")

import peft  # noqa: E402, F401
import torch  # noqa: E402
import torch.utils.tensorboard  # noqa: E402
import transformers  # noqa: E402, F401

import hafs.train  # noqa: E402
import hafs.training  # noqa: E402, F401

torch.set_num_threads(1)
