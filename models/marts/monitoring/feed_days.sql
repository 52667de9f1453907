{%- set z = perennial.setting('monitor_z') %}
with clock as (
    select *
    from {{ ref('clock') }}
),

valued as (
    select
        *,
        -- One number for the three, by which the joins below are several times faster.
        dense_rank() over (order by table_name, measure, span_days) as series_number,
        measure in ('refused', 'duplicates') as is_share,
        n_part / nullif(cast(n_whole as double), 0) as share,
        -- By Anscombe's root a count varies alike whether it is small or large.
        case
            when measure in ('refused', 'duplicates')
                then n_part / nullif(cast(n_whole as double), 0)
            else 2 * sqrt(n_part + 0.375)
        end as even_value
    from {{ ref('feed_series') }}
),

-- The same weekday of the eight weeks before.
earlier as (
    select
        valued.series_number,
        {{ perennial.add_days('valued.day_on', '7 * weeks.n') }} as day_on,
        valued.even_value,
        valued.n_part,
        valued.n_whole
    from valued
    cross join ({{ perennial.numbers(1, 8) }}) as weeks
    where valued.even_value is not null
),

expected as (
    select
        series_number,
        day_on,
        count(*) as n_history,
        median(even_value) as middle,
        sum(n_part) / nullif(cast(sum(n_whole) as double), 0) as usual_share,
        -- With half a row more of either kind, so that what never happened may happen.
        (sum(n_part) + 0.5) / (sum(n_whole) + 1.0) as smooth_share
    from earlier
    group by all
),

deviations as (
    select
        earlier.series_number,
        earlier.day_on,
        median(abs(earlier.even_value - expected.middle)) as mad
    from earlier
    inner join expected
        on
            earlier.series_number = expected.series_number
            and earlier.day_on = expected.day_on
    group by all
),

scaled as (
    select
        valued.*,
        coalesce(expected.n_history, 0) as n_history,
        coalesce(expected.n_history, 0) >= 4 and valued.even_value is not null
            as is_judged,
        expected.middle,
        expected.usual_share,
        -- Never below what chance alone does to a count (Poisson: 1 of the root) or to a share
        -- (binomial), below a single row, or below what nobody would get up for.
        case
            when not valued.is_share
                then greatest(1.4826 * deviations.mad, 1, 0.025 * expected.middle)
            else greatest(
                1.4826 * deviations.mad,
                sqrt(
                    expected.smooth_share * (1 - expected.smooth_share)
                    / nullif(valued.n_whole, 0)
                ),
                1.0 / nullif(valued.n_whole, 0),
                0.01
            )
        end as scale
    from valued
    left join expected
        on
            valued.series_number = expected.series_number
            and valued.day_on = expected.day_on
    left join deviations
        on
            valued.series_number = deviations.series_number
            and valued.day_on = deviations.day_on
),

judged as (
    select
        *,
        (even_value - middle) / scale as robust_z,
        middle - {{ z }} * scale as low,
        middle + {{ z }} * scale as high
    from scaled
    where is_judged
)

select
    cast(scaled.table_name as string) as table_name,
    cast(scaled.measure as string) as measure,
    cast(scaled.span_days as integer) as span_days,
    cast(scaled.day_on as date) as day_on,
    cast(scaled.n_part as bigint) as n_part,
    cast(scaled.n_whole as bigint) as n_whole,
    cast(
        case when scaled.is_share then scaled.share else scaled.n_part end as double
    ) as value,
    cast(scaled.share as double) as share,
    cast(scaled.usual_share as double) as usual_share,
    cast(scaled.n_history as integer) as n_history,
    cast(scaled.is_judged as boolean) as is_judged,
    cast({{ perennial.feed_value('judged.middle', 'judged.is_share') }} as double)
        as expected_value,
    cast({{ perennial.feed_value('judged.low', 'judged.is_share') }} as double)
        as expected_low,
    cast({{ perennial.feed_value('judged.high', 'judged.is_share') }} as double)
        as expected_high,
    cast(judged.robust_z as double) as robust_z,
    cast(coalesce(abs(judged.robust_z) > {{ z }}, false) as boolean) as is_anomaly
from scaled
cross join clock
left join judged
    on
        scaled.series_number = judged.series_number
        and scaled.day_on = judged.day_on
where
    scaled.measure not like 'filled %'
    or scaled.day_on
    >= {{ perennial.add_days('clock.as_of_on', -perennial.setting('monitor_days')) }}
