"""OPC UA status codes, one by one, by the names that asyncua gives them."""

import pytest
from asyncua import ua

from agent.core.quality import Quality
from drivers.opcua.status import QUALITY, is_overflow, quality_of

EXPECTED = {
    Quality.GOOD: "Good GoodClamped GoodNoData GoodCompletesAsynchronously",
    Quality.UNCERTAIN: "Uncertain UncertainSubNormal UncertainDataSubNormal UncertainDependentValueChanged",
    Quality.OUT_OF_RANGE: "UncertainSensorNotAccurate UncertainEngineeringUnitsExceeded",
    Quality.LAST_USABLE: "UncertainNoCommunicationLastUsableValue UncertainLastUsableValue",
    Quality.DEVICE_UNCERTAIN: "UncertainConfigurationError",
    Quality.SUBSTITUTED: "GoodLocalOverride UncertainSubstituteValue UncertainTransducerInManual"
    " UncertainSimulatedValue",
    Quality.BAD: "Bad UncertainInitialValue BadUnexpectedError BadInvalidArgument BadNothingToDo",
    Quality.COMM_FAIL: "BadCommunicationError BadTimeout BadShutdown BadServerNotConnected BadServerHalted"
    " BadNoCommunication"
    " BadWaitingForInitialData BadNotConnected BadNoData BadDataLost BadDataUnavailable BadConnectionRejected"
    " BadDisconnect BadConnectionClosed BadRequestTimeout BadSessionIdInvalid BadSessionClosed BadSecureChannelClosed",
    Quality.SENSOR_FAULT: "BadSensorFailure",
    Quality.NOT_A_NUMBER: "BadOutOfRange",
    Quality.CONFIG: "BadEncodingError BadDecodingError BadUserAccessDenied BadNodeIdInvalid BadNodeIdUnknown"
    " BadAttributeIdInvalid BadIndexRangeInvalid BadIndexRangeNoData BadDataEncodingInvalid BadDataEncodingUnsupported"
    " BadNotReadable BadNotSupported BadNotFound BadNotImplemented BadMonitoringModeInvalid"
    " BadMonitoredItemFilterInvalid BadMonitoredItemFilterUnsupported BadNodeNotInView BadTypeMismatch"
    " BadConfigurationError BadSecurityModeInsufficient",
    Quality.DEVICE: "BadInternalError BadOutOfMemory BadResourceUnavailable BadTooManyOperations"
    " BadTooManyMonitoredItems"
    " BadDeviceFailure BadOutOfService",
}
CASES = [(name, quality) for quality, names in EXPECTED.items() for name in names.split()]


@pytest.mark.parametrize(("name", "quality"), CASES)
def test_status_becomes_quality(name: str, quality: Quality) -> None:
    assert quality_of(getattr(ua.StatusCodes, name)) is quality


def test_every_code_of_the_table_is_tested() -> None:
    tested = {getattr(ua.StatusCodes, name) for name, _ in CASES}
    assert {hex(code) for code in QUALITY} <= {hex(code) for code in tested}


def test_an_unknown_code_goes_by_its_severity() -> None:
    assert [quality_of(code) for code in (0x0FFF_0000, 0x4FFF_0000, 0x8FFF_0000, 0xC000_0000)] == [0, 1, 100, 100]


def test_a_value_pegged_at_a_limit_is_out_of_range() -> None:
    low, high, constant, no_data_value = 0x0500, 0x0600, 0x0700, 0x0100
    assert [quality_of(code) for code in (low, high, constant, no_data_value)] == [2, 2, 0, 0]


def test_info_bits_change_nothing_else() -> None:
    assert quality_of(0x808C_0000 | 0x0500) is Quality.SENSOR_FAULT


def test_overflow_is_told_by_its_bit() -> None:
    assert is_overflow(0x0480)
    assert is_overflow(0x4090_0480)
    assert not is_overflow(0x0400)
    assert not is_overflow(0x0080)  # the bit means something else without the info type
