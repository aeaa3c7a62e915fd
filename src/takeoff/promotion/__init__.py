"""How a candidate leaves its notebook: what its tagged cells need, the module made of them, the proof."""
