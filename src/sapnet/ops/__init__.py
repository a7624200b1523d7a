"""Stateless tensor functions that torchvision lacks; they know nothing of prompts or bags."""
