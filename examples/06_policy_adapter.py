"""A policy adapter: what a model of another family must offer so that everything here can sample and train it.

The model of this example is one convolution that knows nothing; what matters is the shape of its methods.
"""

from contextlib import contextmanager
from pathlib import Path

import torch
from rich import print
from safetensors.torch import save_file

from worldr1.policy.base import Conditioning
from worldr1.policy.swap import swapped
from worldr1.sampling.rollout import rollout


class MyPolicy:
    """x_sigma = (1 - sigma) x0 + sigma eps; the network gives v = eps - x0."""

    device = torch.device("cpu")

    def __init__(self):
        self.network = torch.nn.Conv3d(4, 4, 3, padding=1)
        self.frozen = [p.detach().clone() for p in self.network.parameters()]

    def encode(self, prompts):  # one row of embeddings [L, D] for each prompt
        return Conditioning(torch.tensor([[[float(len(prompt))]] for prompt in prompts]))

    def velocity(self, latents, sigma, conditioning):  # [B,C,T,H,W], [B], B prompts -> fp32 [B,C,T,H,W]
        return self.network(latents) * (1 - sigma.view(-1, 1, 1, 1, 1)) + latents

    @contextmanager
    def base(self):  # inside it velocity() is the model as it was before training
        with swapped(self.trainable_parameters(), self.frozen):
            yield

    def extrapolated(self, scale):  # inside it the weights lie `scale` times as far from the base
        pairs = zip(self.frozen, self.trainable_parameters(), strict=True)
        return swapped(self.trainable_parameters(), [base + scale * (p.detach() - base) for base, p in pairs])

    def decode(self, latents):  # latents [B,C,t,h,w] -> videos [B,T,3,H,W] in [0,1]
        size = (4 * latents.shape[2] - 3, 8 * latents.shape[3], 8 * latents.shape[4])
        return torch.nn.functional.interpolate(latents[:, :3], size).sigmoid().transpose(1, 2)

    def latent_shape(self, frames, height, width):  # of one video
        return 4, (frames - 1) // 4 + 1, height // 8, width // 8

    def sigmas(self, steps):  # fp32 [steps + 1], from 1 to 0; shift 3 as Wan2.1 at 480p
        t = torch.linspace(1, 0, steps + 1)
        return 3 * t / (1 + 2 * t)

    def trainable_parameters(self):  # always in the same order
        return list(self.network.parameters())

    def state_dict(self):
        return dict(self.network.named_parameters())

    @torch.no_grad()
    def load_state_dict(self, state):  # in place, so that the optimiser keeps its parameters
        for name, parameter in self.network.named_parameters():
            parameter.copy_(state[name])

    def save(self, directory):  # as the model's own loader wants it
        save_file({k: v.detach().clone() for k, v in self.state_dict().items()}, Path(directory) / "my.safetensors")


policy = MyPolicy()
shape = policy.latent_shape(17, 64, 64)
noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
prompts = policy.encode(["camera push in", "camera orbit left"])
made = rollout(
    policy, prompts, noise, policy.sigmas(4), window=(0, 2), eta=0.7, generator=torch.Generator().manual_seed(1)
)
print(f"latents {list(made.latents.shape)} videos {list(policy.decode(made.latents).shape)}")
print(f"log-probabilities of the two stochastic steps {made.log_probs.tolist()}")
