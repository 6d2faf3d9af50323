# A service as code, with what OpenTofu and Terraform bring themselves: no provider, no cloud.

variable "replicas" {
  description = "How many replicas there are."
  type        = number
}

variable "release" {
  description = "The release that every replica has."
  type        = string
}

variable "ready" {
  description = "A command that ends well when the replica with the number REPLICA may be counted."
  type        = string
  default     = "true"
}

resource "terraform_data" "replica" {
  count = var.replicas
  input = var.release

  provisioner "local-exec" {
    command     = var.ready
    environment = { REPLICA = count.index }
  }
}

output "releases" {
  value = [for replica in terraform_data.replica : replica.output]
}
