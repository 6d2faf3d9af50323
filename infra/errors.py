"""The error that a person can mend: its message says what is wrong and what to do, and is all that they are shown.

MendableError           say it in one line, exit code 2; nothing was left half done
+-- KeyFileError        `infra.keys`: a key file is missing or readable by others
+-- NotServingError     `infra.api.server`: the views' address cannot be listened on
+-- NotUpError          `infra.settings`: the embedded platform was never started in this home
+-- PortInUseError      `infra.platform.ports`: something else listens there
+-- ProcessError        `infra.platform.processes`: a server did not come up
+-- ProvisionError      `infra.security.provision`: the broker refused principals or grants
+-- RegistryError       `infra.schema_registry`: the registry does not answer or refuses
+-- SecretFileError     `infra.security.files`: a secret's file is missing or readable by others
+-- SettingsFileError   `infra.settings`: `autopilot.toml` is no TOML
+-- TopicsError         `infra.platform.topics`: topics cannot be made or stand otherwise
"""


class MendableError(RuntimeError):
    """A person can mend it."""
