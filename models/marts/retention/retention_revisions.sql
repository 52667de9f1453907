{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    full_refresh=false
) }}
-- depends_on: {{ ref('orders') }}, {{ ref('refunds') }}, {{ ref('events') }}
-- depends_on: {{ ref('identity_links') }}, {{ ref('customer_periods') }}
-- depends_on: {{ ref('retention_starts') }}
{%- set settings = "'" ~ perennial.setting('timezone') ~ ", weeks from "
    ~ perennial.setting('week_start') ~ "'" -%}
-- What would move a figure although the data stayed as they were belongs to its definition.
with definitions as (
    select
        definition as metric,
        {{ perennial.base_number() | indent(8) }} as base_number,
        start_event <> 'order' or return_event <> 'order' as has_events,
        concat_ws(
            ', ',
            kind, starts, start_event, return_event, clock, cohort_grain, period_grain,
            {{ settings }}
        ) as definition
    from {{ ref('retention_definitions') }}
),

cells as (
    select
        retention.definition as metric,
        retention.segment_type,
        retention.segment,
        retention.cohort_start_on,
        retention.period_number,
        concat_ws(
            ', ',
            definitions.definition,
            'from ' || cast(retention.from_period as string),
            'to ' || cast(retention.to_period as string)
        ) as definition,
        cast(retention.retention_numerator as decimal(18, 2)) as numerator,
        retention.retention_denominator as denominator
    from {{ ref('retention') }} as retention
    inner join definitions
        on retention.definition = definitions.metric
    where retention.is_mature

    union all

    select
        'cohort_revenue_months' as metric,
        segment_type,
        segment,
        cohort_start_on,
        period_number,
        'revenue, calendar, month by month, ' || {{ settings }} as definition,
        revenue_amount as numerator,
        n_customers as denominator
    from {{ ref('cohort_retention') }}
    where
        grain = 'month'
        and is_mature
),

{% if is_incremental() -%}
latest as (
    select revisions.*
    from {{ this }} as revisions
    inner join (
        select
            metric,
            segment_type,
            segment,
            cohort_start_on,
            period_number,
            max(revision_number) as revision_number
        from {{ this }}
        group by all
    ) as last_ones
        on
            revisions.metric = last_ones.metric
            and revisions.segment_type = last_ones.segment_type
            and revisions.segment = last_ones.segment
            and revisions.cohort_start_on = last_ones.cohort_start_on
            and revisions.period_number = last_ones.period_number
            and revisions.revision_number = last_ones.revision_number
),

-- A cell is withdrawn where the data or a definition no longer have it.
changed as (
    select
        coalesce(cells.metric, latest.metric) as metric,
        coalesce(cells.segment_type, latest.segment_type) as segment_type,
        coalesce(cells.segment, latest.segment) as segment,
        coalesce(cells.cohort_start_on, latest.cohort_start_on) as cohort_start_on,
        coalesce(cells.period_number, latest.period_number) as period_number,
        coalesce(cells.definition, latest.definition) as definition,
        cells.numerator,
        cells.denominator,
        cells.metric is null as is_withdrawn,
        coalesce(latest.revision_number, 0) + 1 as revision_number,
        latest.first_mature_as_of,
        latest.as_of as previous_as_of,
        latest.metric is not null
        and coalesce(cells.definition, '') <> latest.definition
        and latest.definition not in (select of_today.definition from cells as of_today)
            as has_new_definition
    from cells
    full outer join latest
        on
            cells.metric = latest.metric
            and cells.segment_type = latest.segment_type
            and cells.segment = latest.segment
            and cells.cohort_start_on = latest.cohort_start_on
            and cells.period_number = latest.period_number
    where
        (
            latest.metric is null
            or cells.definition is distinct from latest.definition
            or cells.numerator is distinct from latest.numerator
            or cells.denominator is distinct from latest.denominator
        )
        and not (cells.metric is null and latest.is_withdrawn)
),

-- What came to be known of a customer after a revision, of a time before it.
news as (
    select
        customer_id,
        'late order' as cause,
        ordered_at as happened_at,
        known_at
    from {{ ref('orders') }}
    union all
    select
        customer_id,
        'late refund' as cause,
        refunded_at as happened_at,
        known_at
    from {{ ref('refunds') }}
    union all
    select
        customer_id,
        'late event' as cause,
        occurred_at as happened_at,
        known_at
    from {{ ref('events') }}
    union all
    -- Whoever logs in on a device takes over what was done on it before.
    select
        links.customer_id,
        'identity link' as cause,
        events.occurred_at as happened_at,
        links.first_linked_at as known_at
    from {{ ref('identity_links') }} as links
    inner join {{ ref('events') }} as events
        on
            links.anonymous_id = events.anonymous_id
            and links.first_linked_at > events.occurred_at
),

recent_news as (
    select *
    from news
    where known_at > (
        select min(revised.previous_as_of) from changed as revised
        where not revised.has_new_definition
    )
),

members as (
    select
        definitions.metric,
        definitions.has_events,
        starts.cohort_start_on,
        starts.customer_id
    from {{ ref('retention_starts') }} as starts
    inner join definitions
        on starts.base_number = definitions.base_number
    union
    select
        'cohort_revenue_months' as metric,
        false as has_events,
        cohort_start_on,
        customer_id
    from {{ ref('customer_periods') }}
    where grain = 'month'
),

-- Somebody of the cohort has news, or somebody has left it for another because of them.
reasons as (
    select
        changed.metric,
        changed.segment_type,
        changed.segment,
        changed.cohort_start_on,
        changed.period_number,
        bool_or(recent_news.cause = 'late order') as has_late_order,
        bool_or(
            recent_news.cause = 'late refund'
            and changed.metric = 'cohort_revenue_months'
        ) as has_late_refund,
        bool_or(recent_news.cause = 'late event' and members.has_events)
            as has_late_event,
        bool_or(recent_news.cause = 'identity link' and members.has_events)
            as has_identity_link
    from changed
    inner join members
        on
            changed.metric = members.metric
            and changed.cohort_start_on = members.cohort_start_on
    inner join recent_news
        on
            members.customer_id = recent_news.customer_id
            and changed.previous_as_of < recent_news.known_at
            and changed.previous_as_of >= recent_news.happened_at
    where not changed.has_new_definition
    group by all
),

revisions as (
    select
        changed.*,
        case
            when changed.revision_number = 1 then 'first mature'
            when changed.has_new_definition then 'definition'
            else coalesce(
                nullif(
                    concat_ws(
                        ', ',
                        case when reasons.has_late_order then 'late order' end,
                        case when reasons.has_late_refund then 'late refund' end,
                        case when reasons.has_late_event then 'late event' end,
                        case when reasons.has_identity_link then 'identity link' end
                    ),
                    ''
                ),
                'correction'
            )
        end as cause
    from changed
    left join reasons
        on
            changed.metric = reasons.metric
            and changed.segment_type = reasons.segment_type
            and changed.segment = reasons.segment
            and changed.cohort_start_on = reasons.cohort_start_on
            and changed.period_number = reasons.period_number
    -- A build of an earlier moment than the last one writes no history.
    where
        (select clock.as_of from {{ ref('clock') }} as clock)
        >= (select max(earlier.as_of) from {{ this }} as earlier)
)

{%- else -%}
revisions as (
    select
        *,
        false as is_withdrawn,
        1 as revision_number,
        cast(null as timestamp) as first_mature_as_of,
        'first mature' as cause
    from cells
)
{%- endif %}

select
    cast(revisions.metric as string) as metric,
    cast(revisions.segment_type as string) as segment_type,
    cast(revisions.segment as string) as segment,
    cast(revisions.cohort_start_on as date) as cohort_start_on,
    cast(revisions.period_number as bigint) as period_number,
    cast(revisions.revision_number as bigint) as revision_number,
    cast(revisions.definition as string) as definition,
    cast(revisions.numerator as decimal(18, 2)) as numerator,
    cast(revisions.denominator as bigint) as denominator,
    cast(
        cast(revisions.numerator as double) / nullif(revisions.denominator, 0) as double
    ) as value,
    cast(revisions.cause as string) as cause,
    cast(revisions.is_withdrawn as boolean) as is_withdrawn,
    cast(coalesce(revisions.first_mature_as_of, clock.as_of) as timestamp)
        as first_mature_as_of,
    cast(clock.as_of as timestamp) as as_of
from revisions
cross join {{ ref('clock') }} as clock
