{#-
The raw tables whose rows bear the time at which they happened, and the column that says it. The
lines of an order happen with their order. A test holds this list against the contract.
-#}
{% macro feed_moments() %}
    {% do return({
        'orders': 'ordered_at',
        'order_items': 'ordered_at',
        'refunds': 'refunded_at',
        'customers': 'created_at',
        'events': 'occurred_at',
        'reviews': 'reviewed_at',
        'coupon_grants': 'granted_at',
        'campaign_touches': 'sent_at',
        'experiment_assignments': 'assigned_at',
        'ad_spend': 'spend_date',
        'exchange_rates': 'rate_date',
        'support_questions': 'asked_at',
    }) %}
{% endmacro %}


{#-
What came in of a raw table on each day of the shop's calendar, as a query with one row per day
and measure; n_part of n_whole rows have what is measured:
  rows               every row that came in
  refused            of those, the ones in quarantine
  duplicates         of those, the ones refused as duplicates
  filled <column>    of the good rows, those with a value in a column that may be null

A row counts on the day on which it happened, also where it came late.

Arguments:
  table   name of the table in the raw contract
-#}
{% macro feed_counts(table) %}
{%- set feed = ref('perennial', 'checked_' ~ table) -%}
{%- if not execute -%}
    {#- Only the dependencies matter while dbt parses. -#}
    {%- if table == 'order_items' %}{% do ref('perennial', 'stg_orders') %}{% endif -%}
    select 1 as parsing
{%- else -%}
{%- set columns = perennial.contract(table).columns -%}
{%- set name = perennial.feed_moments()[table] -%}
{%- set is_date = columns.get(name, {}).data_type == 'date' -%}
{%- set moment = ('orders.' if table == 'order_items' else 'feed.') ~ name -%}
{%- set measures = {'rows': ('n_rows', 'n_rows'), 'refused': ('n_refused', 'n_rows'),
    'duplicates': ('n_duplicates', 'n_rows')} -%}
{%- set optional = [] -%}
{%- for column in columns.values()
    if not column.config.meta.required and column.name not in ['ingested_at', name] -%}
    {%- do optional.append(column.name) -%}
    {%- do measures.update({'filled ' ~ column.name: ('n_' ~ column.name, 'n_good')}) -%}
{%- endfor -%}
    select
        '{{ table }}' as table_name,
        measures.measure,
        daily.day_on,
        case measures.measure
            {%- for measure, counts in measures.items() %}
            when '{{ measure }}' then daily.{{ counts[0] }}
            {%- endfor %}
        end as n_part,
        case when measures.measure like 'filled %' then daily.n_good else daily.n_rows end
            as n_whole
    from (
        select
            {{ 'moment' if is_date else perennial.local_date('moment') }} as day_on,
            sum(n_rows) as n_rows,
            sum(n_rows) filter (where is_good) as n_good,
            sum(n_rows) filter (where not is_good) as n_refused,
            {%- for name in optional %}
            sum(n_{{ name }}) as n_{{ name }},
            {%- endfor %}
            sum(n_duplicates) as n_duplicates
        from (
            {#- Apart, because counting only some rows of a group is slow. -#}
            {%- for is_good in ['true', 'false'] %}
            select
                {{ moment if is_date else perennial.quarter_of_hour(moment) }} as moment,
                {{ is_good }} as is_good,
                count(*) as n_rows,
                {%- for name in optional %}
                {{ 'count(feed.' ~ name ~ ')' if is_good == 'true' else 0 }} as n_{{ name }},
                {%- endfor %}
                count_if(feed.refusal like 'duplicate: %') as n_duplicates
            from {{ feed }} as feed
            {%- if table == 'order_items' %}
            left join {{ ref('perennial', 'stg_orders') }} as orders
                on feed.order_id = orders.order_id
            {%- endif %}
            where feed.refusal is {{ 'null' if is_good == 'true' else 'not null' }}
            group by all
            {{- '\n            union all' if not loop.last }}
            {%- endfor %}
        ) as by_moment
        group by all
    ) as daily
    cross join (
        {%- for measure in measures %}
        select '{{ measure }}' as measure
        {{- '\n        union all' if not loop.last }}
        {%- endfor %}
    ) as measures
    where daily.day_on is not null
{%- endif -%}
{% endmacro %}


{#-
The quarter of an hour that a moment lies in: days begin at one in every time zone, and there
are so few of them that to find their days costs nothing.

Arguments:
  moment   an expression of type timestamp
-#}
{% macro quarter_of_hour(moment) -%}
    date_trunc('hour', {{ moment }})
    + cast(floor(minute({{ moment }}) / 15) as integer) * interval '15' minute
{%- endmacro %}


{#-
What feed_days compares, back in rows or as a share: a count's Anscombe root (F. J. Anscombe,
"The transformation of Poisson, binomial and negative-binomial data", Biometrika 35, 1948)
undone, a share as it is; neither below nothing nor, of a share, above all. Rounded, so that
the root of nothing gives nothing.

Arguments:
  even_value   the root of a count, or a share
  is_share     whether it is a share
-#}
{% macro feed_value(even_value, is_share) -%}
    case
        when {{ is_share }} then least(1, greatest(0, {{ even_value }}))
        when {{ is_share }} is not null
            then round(
                greatest(0, power(greatest(0, {{ even_value }}) / 2, 2) - 0.375), 6
            )
    end
{%- endmacro %}


{#- The raw tables that get rows when somebody plans it: a mailing, an experiment. -#}
{% macro planned_feeds() %}
    {% do return(['coupon_grants', 'campaign_touches', 'experiment_assignments']) %}
{% endmacro %}
