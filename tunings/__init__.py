"""Built-in tunings. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "tuning": {
        "full": "mtlbench.tunings.full:Full",
        "decoder": "mtlbench.tunings.decoder:Decoder",
        "degmix": "mtlbench.tunings.degmix:DeGMixTuning",
        "bitfit": "mtlbench.tunings.bitfit:BitFit",
        "lora": "mtlbench.tunings.lora:LoRA",
        "dora": "mtlbench.tunings.dora:DoRA",
        "ia3": "mtlbench.tunings.ia3:IA3",
        "vera": "mtlbench.tunings.vera:VeRA",
        "adapter": "mtlbench.tunings.adapter:Adapter",
        "hyperformer": "mtlbench.tunings.hyperformer:HyperFormer",
        "polyhistor": "mtlbench.tunings.polyhistor:Polyhistor",
        "vpt_shallow": "mtlbench.tunings.vpt_shallow:VPTShallow",
        "vpt_deep": "mtlbench.tunings.vpt_deep:VPTDeep",
        "mtlora": "mtlbench.tunings.mtlora:MTLoRA",
        "ditask": "mtlbench.tunings.ditask:DiTASK",
    }
}
