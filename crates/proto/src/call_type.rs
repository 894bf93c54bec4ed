use std::{fmt, str::FromStr};

use crate::Method;

/// One of gRPC's four kinds of call, with the method of `SensorService` that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallType {
    /// One request, one response: `SendSingleReading`.
    Unary,
    /// A stream of requests, one response: `StreamSensorReadings`.
    ClientStreaming,
    /// One request, a stream of responses: `GetSensorReadings`.
    ServerStreaming,
    /// A stream each way: `SensorChat`.
    BidiStreaming,
}

impl CallType {
    /// All call types, in the order of the API.
    pub const ALL: [Self; 4] =
        [Self::Unary, Self::ClientStreaming, Self::ServerStreaming, Self::BidiStreaming];

    /// Returns the name in settings and command lines, such as `client-streaming`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStreaming => "client-streaming",
            Self::ServerStreaming => "server-streaming",
            Self::BidiStreaming => "bidi-streaming",
        }
    }

    /// Returns the name as a key of JSON, such as `client_streaming`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStreaming => "client_streaming",
            Self::ServerStreaming => "server_streaming",
            Self::BidiStreaming => "bidi_streaming",
        }
    }

    /// Returns the full method name as telemetry writes it, such as `SensorService/SensorChat`.
    #[must_use]
    pub const fn method(self) -> &'static str {
        self.rpc().full_name()
    }

    /// Returns the `:path` of the call, such as `/SensorService/SensorChat`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.rpc().path()
    }

    const fn rpc(self) -> Method {
        match self {
            Self::Unary => Method::SendSingleReading,
            Self::ClientStreaming => Method::StreamSensorReadings,
            Self::ServerStreaming => Method::GetSensorReadings,
            Self::BidiStreaming => Method::SensorChat,
        }
    }
}

impl fmt::Display for CallType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no call type; its message lists those there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCallType;

impl fmt::Display for UnknownCallType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected `unary`, `client-streaming`, `server-streaming` or `bidi-streaming`")
    }
}

impl std::error::Error for UnknownCallType {}

impl FromStr for CallType {
    type Err = UnknownCallType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|call_type| call_type.name() == name).ok_or(UnknownCallType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_their_call_type() {
        for call_type in CallType::ALL {
            assert_eq!(call_type.name().parse(), Ok(call_type));
            assert_eq!(call_type.name().replace('-', "_"), call_type.key());
        }
        assert_eq!("Unary".parse::<CallType>(), Err(UnknownCallType));
    }

    #[test]
    fn every_call_type_has_a_method_of_that_kind() {
        use prost::Message as _;
        let set = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let methods = &set.file[0].service[0].method;
        for (call_type, streams) in
            CallType::ALL.into_iter().zip([(false, false), (true, false), (false, true), (true, true)])
        {
            let name = call_type.method().strip_prefix("SensorService/").unwrap();
            let method = methods.iter().find(|method| method.name() == name).unwrap();
            assert_eq!((method.client_streaming(), method.server_streaming()), streams, "{name}");
        }
    }
}
