{%- set z = perennial.setting('monitor_z') %}
{%- set first_day = -perennial.setting('monitor_days') %}
with recent_days as (
    select feed_days.*
    from {{ ref('feed_days') }} as feed_days
    cross join {{ ref('clock') }} as clock
    where
        feed_days.is_judged
        and feed_days.day_on
        >= {{ perennial.add_days('clock.as_of_on', first_day) }}
),

-- A feed that fell silent has no columns to speak of.
broken_feeds as (
    select
        table_name,
        span_days,
        day_on
    from recent_days
    where measure = 'rows' and robust_z < -{{ z }}
),

daily_checks as (
    -- What does not come is a fault, unless somebody decides when it comes. What comes too
    -- often is a sale, mostly.
    select
        'missing rows' as check_name,
        case
            when
                table_name in (
                    {%- for table in perennial.planned_feeds() %}
                    '{{ table }}'{{ ',' if not loop.last }}
                    {%- endfor %}
                )
                then 'warning'
            else 'error'
        end as severity,
        *,
        -robust_z as score,
        robust_z < -{{ z }} as is_alert
    from recent_days
    where measure = 'rows'
    union all
    select
        'surplus rows' as check_name,
        'warning' as severity,
        *,
        robust_z as score,
        -- A feed that comes in bursts is expected to have none.
        robust_z > {{ z }} and expected_value > 0 as is_alert
    from recent_days
    where measure = 'rows'
    union all
    select
        measure as check_name,
        'error' as severity,
        *,
        robust_z as score,
        robust_z > {{ z }} as is_alert
    from recent_days
    where measure in ('refused', 'duplicates')
    union all
    -- Fewer values may mean fewer rows of the kind that has them: the share must fall too.
    select
        'empty column' as check_name,
        'error' as severity,
        recent_days.*,
        -recent_days.robust_z as score,
        recent_days.robust_z < -{{ z }}
        and coalesce(recent_days.share, 0) < 0.67 * recent_days.usual_share
        and broken_feeds.table_name is null as is_alert
    from recent_days
    left join broken_feeds
        on
            recent_days.table_name = broken_feeds.table_name
            and recent_days.span_days = broken_feeds.span_days
            and recent_days.day_on = broken_feeds.day_on
    where recent_days.measure like 'filled %'
),

-- Of the days that count, the one that stands out most.
worst_days as (
    select *
    from daily_checks
    qualify row_number() over (
        partition by check_name, table_name, measure, span_days
        order by is_alert desc, score desc, day_on desc
    ) = 1
),

checks as (
    select
        check_name,
        severity,
        table_name,
        case
            when measure like 'filled %' then substr(measure, 8)
            else 'rows'
        end as subject,
        span_days,
        day_on as checked_on,
        value,
        expected_value,
        score,
        {{ z }} as threshold,
        is_alert
    from worst_days

    union all

    select
        'silence' as check_name,
        -- Of a feed that comes in bursts a long silence is no surprise.
        case when usual_silent_days <= 7 then 'error' else 'warning' end as severity,
        table_name,
        'rows' as subject,
        1 as span_days,
        judged_until_on as checked_on,
        silent_days as value,
        usual_silent_days as expected_value,
        silent_days as score,
        allowed_silent_days as threshold,
        is_stale as is_alert
    from {{ ref('feed_freshness') }}
    where is_judged

    union all

    select
        'quarantine' as check_name,
        'error' as severity,
        quality.table_name,
        'rows' as subject,
        null as span_days,
        clock.as_of_on as checked_on,
        1 - quality.share_of_table as value,
        null as expected_value,
        1 - quality.share_of_table as score,
        {{ perennial.setting('max_quarantine_share') }} as threshold,
        1 - quality.share_of_table
        > {{ perennial.setting('max_quarantine_share') }} as is_alert
    from {{ ref('data_quality') }} as quality
    cross join {{ ref('clock') }} as clock
    where quality.outcome = 'staged' and quality.share_of_table is not null

    {%- if perennial.runs_python() %}

    union all

    select
        'drift' as check_name,
        'error' as severity,
        'churn_features_today' as table_name,
        feature as subject,
        null as span_days,
        today_on as checked_on,
        psi as value,
        usual_psi as expected_value,
        psi as score,
        {{ perennial.setting('monitor_drift') }} as threshold,
        is_drifted as is_alert
    from {{ ref('feature_drift') }}
    where is_judged
    {%- endif %}
)

select
    cast(check_name as string) as check_name,
    cast(severity as string) as severity,
    cast(table_name as string) as table_name,
    cast(subject as string) as subject,
    cast(span_days as integer) as span_days,
    cast(checked_on as date) as checked_on,
    cast(value as double) as value,
    cast(expected_value as double) as expected_value,
    cast(score as double) as score,
    cast(threshold as double) as threshold,
    cast(is_alert as boolean) as is_alert
from checks
