"""From network outputs to instances, and prediction over folders of images."""
