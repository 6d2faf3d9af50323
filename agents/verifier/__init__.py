"""The verifier: whether an execution, or its rollback, helped."""
