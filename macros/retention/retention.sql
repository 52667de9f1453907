{#-
The name of what a definition of retention counts from and what it counts as a return, by
which rows of `retention_starts` and `retention_returns` are found. An expression over
`retention_definitions`.
-#}
{% macro retention_base() -%}
    starts || ' ' || start_event || ', ' || return_event || ', ' || clock || ', '
    || cohort_grain || ' by ' || period_grain
{%- endmacro %}


{#-
The seconds of a rolling window: 24 hours, 7 times that, or 30 times.

Arguments:
  grain   an expression: day, week or month
-#}
{% macro period_seconds(grain) -%}
    case {{ grain }} when 'day' then 86400 when 'week' then 604800 else 2592000 end
{%- endmacro %}


{#- The ways in which retention is segmented: the name of each, and the column of `customer_segments`. -#}
{% macro segment_types() %}
    {% do return([
        ('all', "'all'"), ('country', 'country'), ('channel', 'channel'),
        ('first_category', 'first_category'), ('first_order_coupon', 'first_order_coupon'),
        ('device', 'device'),
    ]) %}
{% endmacro %}
