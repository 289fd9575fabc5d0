"""The dense model that the backbone is made of, with a kit's head, to train as a whole.

Shapes: B images, N tokens, D width.
"""

from torch import nn

from moekit import Grid, HeadSite


class Dense(nn.Module):
    """The dense timm model with the kit's head on the kit's blocks.

    Args:
        vit: The model.
        spec: The kit.
    """

    def __init__(self, vit, spec):
        super().__init__()
        self.vit = vit
        self.taken = sorted(block % len(vit.blocks) for block in spec.head_blocks)
        self.patch = vit.patch_embed.patch_size[0]
        site = HeadSite(
            width=vit.embed_dim, blocks=len(self.taken), members=spec.recipe.head_members
        )
        self.head = spec.build_head(site)

    def leave_out_the_rest(self):
        """Takes away what comes after the last block that is read, which nothing would train."""
        self.vit.blocks = self.vit.blocks[: self.taken[-1] + 1]
        self.vit.norm = self.vit.head = nn.Identity()

    def forward(self, images):
        """(B, 3, H, W) to the head's logits (B,)."""
        x_BND = self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed(images)))
        kept = []
        for index in range(self.taken[-1] + 1):
            x_BND = self.vit.blocks[index](x_BND)
            kept += [x_BND] if index in self.taken else []
        rows, columns = (side // self.patch for side in images.shape[-2:])
        return self.head(kept, Grid(rows, columns))["logit_B"].float()
