"""The shared backbone: features, the top_k knob, and what the router did.

Run it with `python examples/01_backbone_and_routing.py`; it needs
`pip install -c constraints.txt ".[weights,elpv]"` in a clone.
"""

from importlib.resources import files

import torch

import moekit
from moekit.data import Preprocess

backbone = moekit.build_backbone()
print(f"{backbone.provenance.architecture} from {backbone.provenance.origin}")

read = Preprocess(size=224, mean=backbone.mean, std=backbone.std)
images = torch.stack(
    [read(files("elpv_dataset") / f"data/images/cell{number:04d}.png") for number in (1, 2, 4)]
)

with torch.inference_mode():
    exact = backbone(images)
    print(f"features {tuple(exact.final_BND.shape)}, patch grid {tuple(exact.grid)}")

    trace = moekit.RoutingTrace()
    backbone.top_k = 12
    fewer = backbone(images, trace=trace)

likeness = torch.cosine_similarity(exact.pooled_BD, fewer.pooled_BD).mean()
print(f"12 of 16 experts: class features keep a cosine of {likeness:.2f}")
for routed in trace.blocks[:3]:
    print(
        f"block {routed.block}: busiest expert {routed.load_E.max():.0%} of the pairs, "
        f"entropy {routed.entropy:.2f} nats, MaxVio {routed.maxvio:.2f}"
    )
