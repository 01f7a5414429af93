"""What was granted becomes a training: sent to Prefect, swept up when it never began or died."""
