"""What it takes to run the service elsewhere: an image, a compose file, Kubernetes manifests."""
