"""What turns pixels into logits."""
