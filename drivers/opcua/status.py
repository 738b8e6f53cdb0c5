"""OPC UA status codes to quality codes: one table, looked up by the upper 16 bits (Part 4, 7.38)."""

from typing import Final

from agent.core.quality import Quality

GOOD: Final = 0x0000_0000
BAD_NODE_ID_UNKNOWN: Final = 0x8034_0000
BAD_DECODING_ERROR: Final = 0x8007_0000
BAD_TOO_MANY_OPERATIONS: Final = 0x8010_0000
BAD_NO_DATA: Final = 0x809B_0000

_CODE_MASK: Final = 0xFFFF_0000
_SEVERITY_MASK: Final = 0xC000_0000
_UNCERTAIN: Final = 0x4000_0000
_INFO_IS_DATA_VALUE: Final = 0x0400
_INFO_TYPE_MASK: Final = 0x0C00
_LIMIT_MASK: Final = 0x0300
_LIMITED: Final = (0x0100, 0x0200)  # low, high; 0x0300 is "constant", which says nothing about the value
_OVERFLOW: Final = 0x0080

QUALITY: Final[dict[int, Quality]] = {
    # Good, but by hand: nobody measured it.
    0x0096_0000: Quality.SUBSTITUTED,  # GoodLocalOverride
    # Uncertain
    0x4000_0000: Quality.UNCERTAIN,  # Uncertain
    0x408F_0000: Quality.LAST_USABLE,  # UncertainNoCommunicationLastUsableValue
    0x4090_0000: Quality.LAST_USABLE,  # UncertainLastUsableValue
    0x4091_0000: Quality.SUBSTITUTED,  # UncertainSubstituteValue: manually overwritten
    # A value that stands there because nothing has been measured yet must not clear an alarm.
    0x4092_0000: Quality.BAD,  # UncertainInitialValue
    0x4093_0000: Quality.OUT_OF_RANGE,  # UncertainSensorNotAccurate: at one of the sensor's limits
    0x4094_0000: Quality.OUT_OF_RANGE,  # UncertainEngineeringUnitsExceeded
    0x4095_0000: Quality.UNCERTAIN,  # UncertainSubNormal: fewer good sources than required
    0x40A4_0000: Quality.UNCERTAIN,  # UncertainDataSubNormal
    0x4208_0000: Quality.SUBSTITUTED,  # UncertainTransducerInManual
    0x4209_0000: Quality.SUBSTITUTED,  # UncertainSimulatedValue
    0x420F_0000: Quality.DEVICE_UNCERTAIN,  # UncertainConfigurationError
    # Bad: the server or its source cannot be reached
    0x8005_0000: Quality.COMM_FAIL,  # BadCommunicationError
    0x800A_0000: Quality.COMM_FAIL,  # BadTimeout
    0x800C_0000: Quality.COMM_FAIL,  # BadShutdown
    0x800D_0000: Quality.COMM_FAIL,  # BadServerNotConnected
    0x800E_0000: Quality.COMM_FAIL,  # BadServerHalted
    0x8031_0000: Quality.COMM_FAIL,  # BadNoCommunication
    0x8032_0000: Quality.COMM_FAIL,  # BadWaitingForInitialData
    0x808A_0000: Quality.COMM_FAIL,  # BadNotConnected
    0x809B_0000: Quality.COMM_FAIL,  # BadNoData
    0x809D_0000: Quality.COMM_FAIL,  # BadDataLost
    0x809E_0000: Quality.COMM_FAIL,  # BadDataUnavailable
    0x80AC_0000: Quality.COMM_FAIL,  # BadConnectionRejected
    0x80AD_0000: Quality.COMM_FAIL,  # BadDisconnect
    0x80AE_0000: Quality.COMM_FAIL,  # BadConnectionClosed
    0x8085_0000: Quality.COMM_FAIL,  # BadRequestTimeout
    0x8025_0000: Quality.COMM_FAIL,  # BadSessionIdInvalid
    0x8026_0000: Quality.COMM_FAIL,  # BadSessionClosed
    0x8086_0000: Quality.COMM_FAIL,  # BadSecureChannelClosed
    # Bad: the sensor, the number
    0x808C_0000: Quality.SENSOR_FAULT,  # BadSensorFailure
    0x803C_0000: Quality.NOT_A_NUMBER,  # BadOutOfRange: no value of this type
    # Bad: what we ask for is not there, not readable, or no number
    0x8006_0000: Quality.CONFIG,  # BadEncodingError
    0x8007_0000: Quality.CONFIG,  # BadDecodingError
    0x801F_0000: Quality.CONFIG,  # BadUserAccessDenied
    0x8033_0000: Quality.CONFIG,  # BadNodeIdInvalid
    0x8034_0000: Quality.CONFIG,  # BadNodeIdUnknown
    0x8035_0000: Quality.CONFIG,  # BadAttributeIdInvalid
    0x8036_0000: Quality.CONFIG,  # BadIndexRangeInvalid
    0x8037_0000: Quality.CONFIG,  # BadIndexRangeNoData
    0x8038_0000: Quality.CONFIG,  # BadDataEncodingInvalid
    0x8039_0000: Quality.CONFIG,  # BadDataEncodingUnsupported
    0x803A_0000: Quality.CONFIG,  # BadNotReadable
    0x803D_0000: Quality.CONFIG,  # BadNotSupported
    0x803E_0000: Quality.CONFIG,  # BadNotFound
    0x8040_0000: Quality.CONFIG,  # BadNotImplemented
    0x8041_0000: Quality.CONFIG,  # BadMonitoringModeInvalid
    0x8043_0000: Quality.CONFIG,  # BadMonitoredItemFilterInvalid
    0x8044_0000: Quality.CONFIG,  # BadMonitoredItemFilterUnsupported
    0x804E_0000: Quality.CONFIG,  # BadNodeNotInView
    0x8074_0000: Quality.CONFIG,  # BadTypeMismatch
    0x8089_0000: Quality.CONFIG,  # BadConfigurationError
    0x80E6_0000: Quality.CONFIG,  # BadSecurityModeInsufficient
    # Bad: the device says that it cannot. Out of service is not Davy's maintenance (spec/rules.md Q8), which only a
    # person with a name may set: a device must not be able to keep its own fault alarm quiet.
    0x8002_0000: Quality.DEVICE,  # BadInternalError
    0x8003_0000: Quality.DEVICE,  # BadOutOfMemory
    0x8004_0000: Quality.DEVICE,  # BadResourceUnavailable
    0x8010_0000: Quality.DEVICE,  # BadTooManyOperations
    0x80DB_0000: Quality.DEVICE,  # BadTooManyMonitoredItems
    0x808B_0000: Quality.DEVICE,  # BadDeviceFailure
    0x808D_0000: Quality.DEVICE,  # BadOutOfService
}
"""Codes with a meaning of their own; any other one is good, uncertain (1) or bad (100) by its severity."""


def is_bad(status: int) -> bool:
    """Tell whether the severity is bad: the value that comes with it, if any, means nothing."""
    return bool(status & 0x8000_0000)


def is_overflow(status: int) -> bool:
    """Tell whether the server dropped older changes of this node because its queue was full."""
    return status & (_INFO_TYPE_MASK | _OVERFLOW) == _INFO_IS_DATA_VALUE | _OVERFLOW


def quality_of(status: int) -> Quality:
    """The quality that a 32 bit status code stands for; a value pegged at a limit is out of range."""
    if status == GOOD:
        return Quality.GOOD
    known = QUALITY.get(status & _CODE_MASK)
    if known is not None:
        return known
    severity = status & _SEVERITY_MASK
    if severity == 0:
        is_limited = status & _INFO_TYPE_MASK == _INFO_IS_DATA_VALUE and status & _LIMIT_MASK in _LIMITED
        return Quality.OUT_OF_RANGE if is_limited else Quality.GOOD
    return Quality.UNCERTAIN if severity == _UNCERTAIN else Quality.BAD
