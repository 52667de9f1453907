{#-
The number of what a definition of retention counts from and what it counts as a return, by
which rows of `retention_starts` and `retention_returns` are found: millions of them sort and group
numbers with less work than names. An expression over all rows of `retention_definitions`.
-#}
{% macro base_number() -%}
    dense_rank() over (
        order by
            starts nulls last, start_event nulls last, return_event nulls last,
            clock nulls last, cohort_grain nulls last, period_grain nulls last
    )
{%- endmacro %}


{#-
The seconds of a rolling window: 24 hours, 7 times that, or 30 times.

Arguments:
  grain   an expression: day, week or month
-#}
{% macro period_seconds(grain) -%}
    case {{ grain }} when 'day' then 86400 when 'week' then 604800 else 2592000 end
{%- endmacro %}


{#-
How many periods have wholly passed by as_of since a start, its own included. Of rolling ones, how
many whole windows.

Arguments:
  starts   alias of rows with started_at and start_index
  todays   alias of the row with clock, period_grain, today_index and as_of
-#}
{% macro periods_passed(starts, todays) -%}
    case
        when {{ todays }}.clock = 'calendar'
            then {{ todays }}.today_index - {{ starts }}.start_index
        else cast(floor(
            {{ perennial.seconds_between(starts ~ '.started_at', todays ~ '.as_of') }}
            / {{ perennial.period_seconds(todays ~ '.period_grain') }}
        ) as bigint)
    end
{%- endmacro %}


{#- The ways in which retention is segmented: the name of each, and the column of `customer_segments`. -#}
{% macro segment_types() %}
    {% do return([
        ('all', "'all'"), ('country', 'country'), ('channel', 'channel'),
        ('first_category', 'first_category'), ('first_order_coupon', 'first_order_coupon'),
        ('device', 'device'),
    ]) %}
{% endmacro %}


{#-
The mature cells of one kind of retention, with what a chart or a pivot of them needs.

Arguments:
  kind     exact, unbounded, bracket or streak
  columns  further columns of `retention`, and their types
-#}
{% macro retention_of_kind(kind, columns={}) -%}
    select
        cast(definition as string) as definition,
        cast(start_event as string) as start_event,
        cast(return_event as string) as return_event,
        cast(clock as string) as clock,
        cast(cohort_grain as string) as cohort_grain,
        cast(period_grain as string) as period_grain,
        cast(segment_type as string) as segment_type,
        cast(segment as string) as segment,
        cast(cohort_start_on as date) as cohort_start_on,
        cast(period_number as bigint) as period_number,
        {%- for column, type in columns.items() %}
        cast({{ column }} as {{ type }}) as {{ column }},
        {%- endfor %}
        cast(retention_numerator as bigint) as retention_numerator,
        cast(retention_denominator as bigint) as retention_denominator,
        cast(retention_rate as double) as retention_rate,
        cast(retention_rate_low as double) as retention_rate_low,
        cast(retention_rate_high as double) as retention_rate_high
    from {{ ref('retention') }}
    where
        kind = '{{ kind }}'
        and is_mature
{%- endmacro %}
