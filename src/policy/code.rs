//! The codes of refusals that are not a verifier's ([`crate::trust::TrustCode`]).

/// Writes the codes down once: the enum, the list of all, and their texts.
macro_rules! codes {
    ($($name:ident = $text:literal,)+) => {
        /// What kind of refusal. The texts are stable, and explained in `docs/reasons.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is explained in docs/reasons.md, under its text")]
        pub enum Code {
            $($name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable kebab-case code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

codes! {
    RegistryNotAllowed = "registry-not-allowed",
    ContentMismatch = "content-mismatch",
    ImageRule = "image-rule",
    ImageConfigUnknown = "image-config-unknown",
    CreateRule = "create-rule",
    ImageUnapproved = "image-unapproved",
    ImageUnknown = "image-unknown",
    NoImage = "no-image",
    PullAllTags = "pull-all-tags",
    MountNeedsDigest = "mount-needs-digest",
    ServiceNeedsDigest = "service-needs-digest",
    ServicePlugin = "service-plugin",
    ServiceUnknown = "service-unknown",
    StartWithBody = "start-with-body",
    StartFromCheckpoint = "start-from-checkpoint",
    ContainerUnknown = "container-unknown",
    BuildDenied = "build-denied",
    PostureForbids = "posture-forbids",
    HostAccess = "host-access",
    UserForbidden = "user-forbidden",
    PluginNeedsDigest = "plugin-needs-digest",
    PluginUnapproved = "plugin-unapproved",
    PluginBusy = "plugin-busy",
    SelfProtect = "self-protect",
    RouteUnknown = "route-unknown",
    ImportFile = "import-file",
    RequestUnreadable = "request-unreadable",
    EngineUnreachable = "engine-unreachable",
    NameBusy = "name-busy",
    NameTaken = "name-taken",
    StateUnwritable = "state-unwritable",
    ContainerBusy = "container-busy",
    ContainerTooLarge = "container-too-large",
    ImageTooLarge = "image-too-large",
    AuditUnavailable = "audit-unavailable",
    Deadline = "deadline",
    Overloaded = "overloaded",
    SettingFault = "setting-fault",
    RegoDenied = "rego-denied",
    RegoError = "rego-error",
    RegoOverloaded = "rego-overloaded",
    Internal = "internal",
}
