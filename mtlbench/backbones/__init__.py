"""Backbones under the field's names. One line a backbone: name -> "module:callable"; listing them imports
nothing.

A callable takes `weights` ("none", "pretrained" or a file) and returns a `Backbone`. Any other timm model
goes by timm's name.
"""

plugins = {
    "backbone": {
        "resnet18": "mtlbench.backbones.timm_features:resnet18",
        "resnet50": "mtlbench.backbones.timm_features:resnet50",
        "resnet18-dilated": "mtlbench.backbones.resnet:resnet18_dilated",
        "resnet50-dilated": "mtlbench.backbones.resnet:resnet50_dilated",
        "hrnet18": "mtlbench.backbones.hrnet:hrnet18",
        "hrnet48": "mtlbench.backbones.hrnet:hrnet48",
        "swin-t": "mtlbench.backbones.swin:swin_t",
        "swin-s": "mtlbench.backbones.swin:swin_s",
        "swin-b": "mtlbench.backbones.swin:swin_b",
        "swin-l": "mtlbench.backbones.swin:swin_l",
        "swin-l-384": "mtlbench.backbones.swin:swin_l_384",
        "vit-b": "mtlbench.backbones.vit:vit_b",
        "vit-l": "mtlbench.backbones.vit:vit_l",
        "vit-b-384": "mtlbench.backbones.vit_timm:vit_b_384",
        "vit-l-384": "mtlbench.backbones.vit_timm:vit_l_384",
        "efficientnet-lite0": "mtlbench.backbones.timm_features:efficientnet_lite0",
        "*": "mtlbench.backbones.build:timm_by_name",
    }
}
