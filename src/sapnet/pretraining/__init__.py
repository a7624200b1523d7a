"""Class-agnostic training of the pyramid and the SOLOv2 branch on object masks, before any click is seen."""
