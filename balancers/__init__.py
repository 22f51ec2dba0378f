"""Built-in balancers. One line a plugin: name -> "module:class"; listing them imports nothing."""

plugins = {
    "balancer": {
        "equal": "mtlbench.balancers.equal:Equal",
        "fixed": "mtlbench.balancers.fixed:Fixed",
        "uncertainty": "mtlbench.balancers.uncertainty:Uncertainty",
        "dwa": "mtlbench.balancers.dwa:DWA",
        "pcgrad": "mtlbench.balancers.pcgrad:PCGrad",
    }
}
