"""The two networks of the PyTorch references, as plain PyTorch modules.

DenseUNet3D: a residual 3D U-Net (stem, `levels` strided stages, bottleneck,
transposed convolutions with skips joined by cat, one 1x1x1 head).
SegFormer: the MiT encoder b0..b5 with the all-MLP head; no drop path.

Where a Python name lives longer than the value is needed (a list of stage
outputs, a loop variable), the memory lives as long: these names are part of
the definition and must not be tidied away.
"""
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def conv_norm_act(channels_in, channels_out, kernel, stride, padding):
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, kernel, stride, padding, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True))


class Residual3d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.act(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        out = out + x
        return self.act(out)


class DenseUNet3D(nn.Module):
    def __init__(self, base=16, classes=71, levels=4, checkpointed=False):
        super().__init__()
        self.checkpointed = checkpointed
        width = [base * 2 ** i for i in range(levels + 1)]
        self.stem = nn.Sequential(conv_norm_act(1, base, 3, 1, 1), Residual3d(base))
        self.enc = nn.ModuleList([
            nn.Sequential(conv_norm_act(width[i - 1], width[i], 2, 2, 0),
                          Residual3d(width[i]), Residual3d(width[i]))
            for i in range(1, levels + 1)])
        self.bottleneck = nn.Sequential(*[
            conv_norm_act(width[levels], width[levels], 3, 1, 1) for _ in range(2)])
        self.up = nn.ModuleList([
            nn.Sequential(nn.ConvTranspose3d(width[i], width[i - 1], 2, 2, bias=False),
                          nn.BatchNorm3d(width[i - 1]), nn.ReLU(inplace=True))
            for i in range(levels, 0, -1)])
        self.dec = nn.ModuleList([
            nn.Sequential(conv_norm_act(2 * width[i - 1], width[i - 1], 3, 1, 1),
                          Residual3d(width[i - 1]), Residual3d(width[i - 1]))
            for i in range(levels, 0, -1)])
        self.head = nn.Conv3d(base, classes, 1)

    def block(self, module, x):
        if self.checkpointed and self.training:
            return checkpoint(module, x, use_reentrant=False)
        return module(x)

    def forward(self, x):
        skips = [self.block(self.stem, x)]
        for stage in self.enc:
            skips.append(self.block(stage, skips[-1]))
        wide = [self.block(self.bottleneck, skips[-1])]         # the published forward has a name for each
        for up, dec, skip in zip(self.up, self.dec, skips[-2::-1]):
            wide.append(self.block(dec, torch.cat([up(wide[-1]), skip], 1)))
        return self.head(wide[-1])


# encoder widths, depths, head width
SEGFORMER = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}


def flash_attention(q, k, v, scale):
    """What F.scaled_dot_product_attention(q, k, v, scale=scale) calls where a GPU has the flash kernel: which it takes is
    asked of the GPU, so it cannot be called without one. Heads are padded to a multiple of 8 (attention.cpp)."""
    depth = q.shape[-1]
    if depth % 8:
        q, k, v = (F.pad(x, (0, -depth % 8)) for x in (q, k, v))
    y = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[0]
    return y[..., :depth] if depth % 8 else y


class Attention(nn.Module):
    """Softmax attention whose keys and values come from a strided copy."""

    def __init__(self, width, heads, reduction, flash=False):
        super().__init__()
        self.heads, self.reduction, self.flash = heads, reduction, flash
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.reduce = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x, height, width):
        n, tokens, channels = x.shape
        depth = channels // self.heads
        q = self.query(x).view(n, tokens, self.heads, depth).transpose(1, 2)
        if self.reduction > 1:
            x = self.norm(self.reduce(x.transpose(1, 2).reshape(n, channels, height, width))
                          .flatten(2).transpose(1, 2))
        k = self.key(x).view(n, -1, self.heads, depth).transpose(1, 2)
        v = self.value(x).view(n, -1, self.heads, depth).transpose(1, 2)
        if self.flash:
            return self.proj(flash_attention(q, k, v, depth ** -.5).transpose(1, 2).reshape(n, tokens, channels))
        scores = (q @ k.transpose(-1, -2)) * depth ** -.5
        scores = scores.softmax(-1)
        return self.proj((scores @ v).transpose(1, 2).reshape(n, tokens, channels))


class Block(nn.Module):
    def __init__(self, width, heads, reduction, flash):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, reduction, flash)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.depthwise = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)
        self.shrink = nn.Linear(4 * width, width)

    def forward(self, x, height, width):
        x = x + self.attention(self.norm1(x), height, width)
        y = self.expand(self.norm2(x))
        n, _, channels = y.shape
        y = self.depthwise(y.transpose(1, 2).view(n, channels, height, width)) \
            .flatten(2).transpose(1, 2)
        return x + self.shrink(F.gelu(y))


class SegFormer(nn.Module):
    def __init__(self, variant, classes=4, checkpointed=False, flash=False):
        super().__init__()
        self.checkpointed = checkpointed
        widths, depths, head = SEGFORMER[variant]
        before = 3
        self.embed, self.embed_norm = nn.ModuleList(), nn.ModuleList()
        self.blocks, self.stage_norm = nn.ModuleList(), nn.ModuleList()
        for stage, (width, depth, heads, reduction) in enumerate(
                zip(widths, depths, (1, 2, 5, 8), (8, 4, 2, 1))):
            kernel, stride, padding = (3, 2, 1) if stage else (7, 4, 3)
            self.embed.append(nn.Conv2d(before, width, kernel, stride, padding))
            self.embed_norm.append(nn.LayerNorm(width, eps=1e-6))
            self.blocks.append(nn.ModuleList([Block(width, heads, reduction, flash) for _ in range(depth)]))
            self.stage_norm.append(nn.LayerNorm(width, eps=1e-6))
            before = width
        self.project = nn.ModuleList([nn.Linear(width, head) for width in widths])
        self.fuse = nn.Conv2d(4 * head, head, 1, bias=False)
        self.norm = nn.BatchNorm2d(head)
        self.classify = nn.Conv2d(head, classes, 1)

    def forward(self, x):
        size, maps = x.shape[2:], []
        for embed, embed_norm, blocks, stage_norm in zip(
                self.embed, self.embed_norm, self.blocks, self.stage_norm):
            x = embed(x)
            n, c, h, w = x.shape
            x = embed_norm(x.flatten(2).transpose(1, 2))
            for block in blocks:
                if self.checkpointed and self.training:
                    x = checkpoint(block, x, h, w, use_reentrant=False)
                else:
                    x = block(x, h, w)
            x = stage_norm(x).transpose(1, 2).reshape(n, c, h, w)
            maps.append(x)
        scaled = []
        for stage_map, project in zip(maps[::-1], list(self.project)[::-1]):
            n, c, h, w = stage_map.shape
            y = project(stage_map.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(n, -1, h, w)
            scaled.append(F.interpolate(y, size=maps[0].shape[2:], mode="bilinear", align_corners=False))
        x = F.relu(self.norm(self.fuse(torch.cat(scaled, 1))))
        x = F.dropout(x, .1, self.training)
        return F.interpolate(self.classify(x), size=size, mode="bilinear", align_corners=False)


def dice_and_cross_entropy(logits, target):
    p = logits.softmax(1)
    y = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)
    overlap = (p * y).sum((2, 3))
    total = p.sum((2, 3)) + y.sum((2, 3))
    return F.cross_entropy(logits, target) + 1 - ((2 * overlap + 1e-8) / (total + 1e-8)).mean()
